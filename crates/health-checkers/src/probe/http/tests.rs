use super::*;

fn get(target: &str, protocol: Protocol, virtualhost: Option<&str>) -> HttpGet {
    let connect = Connect::to(target.parse().unwrap());
    HttpGet::new(Config {
        protocol,
        virtualhost: virtualhost.map(String::from),
        ..Config::new(connect, vec![Url::new("/health")])
    })
    .unwrap()
}

fn request(get: &HttpGet) -> String {
    get.request(&get.config.urls[0])
}

fn response(status_code: u16) -> Response {
    Response { status_code, digest: [1; 16], digest_as_sent: [2; 16], content_length: None, body_length: 0 }
}

/// As sent by keepalived 2.2.7.
#[test]
fn asks_as_keepalived_does() {
    assert_eq!(
        request(&get("127.0.0.1:80", Protocol::Http10, None)),
        "GET /health HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 127.0.0.1:80\r\n\r\n"
    );
    assert_eq!(
        request(&get("[::1]:18080", Protocol::Http10Close, None)),
        "GET /health HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: [::1]:18080\r\n\r\n"
    );
    assert_eq!(
        request(&get("127.0.0.1:18080", Protocol::Http11, Some("www.example.org"))),
        "GET /health HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www.example.org\r\n\r\n"
    );
}

#[test]
fn the_host_of_a_url_is_closer_than_that_of_the_checker() {
    let get = get("127.0.0.1:80", Protocol::Http10, Some("checker.example.org"));
    let url = Url { virtualhost: Some("url.example.org".into()), ..Url::new("/") };
    assert!(get.request(&url).ends_with("\r\nHost: url.example.org\r\n\r\n"));
}

#[test]
fn a_scope_is_not_part_of_the_host() {
    let get = get("[fe80::1%3]:80", Protocol::Http10, None);
    assert!(request(&get).ends_with("\r\nHost: [fe80::1]:80\r\n\r\n"));
}

#[test]
fn refuses_settings_that_make_no_request() {
    let connect = Connect::to("127.0.0.1:80".parse().unwrap());
    let config = Config::new(connect, vec![]);
    assert_eq!(HttpGet::new(config.clone()), Err(ConfigError::NoUrl));
    let path = "/a\r\nX: y";
    let with_path = Config { urls: vec![Url::new(path)], ..config.clone() };
    assert_eq!(HttpGet::new(with_path), Err(ConfigError::ControlCharacter(path.into())));
    let with_host = Config { urls: vec![Url::new("/")], virtualhost: Some("a\nb".into()), ..config };
    assert_eq!(HttpGet::new(with_host), Err(ConfigError::ControlCharacter("a\nb".into())));
}

#[test]
fn the_default_status_codes_are_200_to_299() {
    let url = Url::new("/");
    for (status_code, accepted) in [(199, false), (200, true), (299, true), (300, false), (404, false)] {
        assert_eq!(check(&url, &response(status_code)).is_ok(), accepted, "{status_code}");
    }
}

#[test]
fn each_given_range_counts() {
    let url = Url { status_code: vec![200..=204, 301..=301], ..Url::new("/") };
    for (status_code, accepted) in [(200, true), (204, true), (205, false), (301, true), (302, false)] {
        assert_eq!(check(&url, &response(status_code)).is_ok(), accepted, "{status_code}");
    }
}

#[test]
fn all_criteria_must_hold_and_are_noted() {
    let url = Url { digest: Some([1; 16]), ..Url::new("/") };
    let path = String::from("/");
    let notes = vec![Note::StatusCode { path: path.clone() }, Note::Digest { path }];
    assert_eq!(check(&url, &response(200)), Ok(notes));
    assert_eq!(check(&url, &response(500)).unwrap_err().reason, Reason::StatusCode);
    let as_sent = Url { digest: Some([2; 16]), ..Url::new("/") };
    assert!(check(&as_sent, &response(200)).is_ok());
    let other = Url { digest: Some([3; 16]), ..Url::new("/") };
    assert_eq!(
        check(&other, &response(200)),
        Err(Failure::with_detail(Reason::Digest, "01010101010101010101010101010101"))
    );
}

#[test]
fn another_length_than_announced_is_only_noted() {
    let short = Response { content_length: Some(10), body_length: 4, ..response(200) };
    let notes = check(&Url::new("/"), &short).unwrap();
    assert_eq!(notes[1], Note::ContentLength { announced: 10, received: 4 });
}
