//! The probes against real servers on the loopback interface, well-behaved and not.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use health_checkers::{
    outcome::{Note, Outcome, Reason},
    probe::{
        Connect, Context, Probe,
        dns::{
            self, Dns,
            message::{Name, RecordType},
        },
        http::{self, HttpGet, Protocol, Url},
        smtp::{self, HeloName, Smtp},
        tcp::Tcp,
        udp::{self, Reply, ReplyByte, Udp},
    },
    schedule::{Attempt, Verdict},
};
use support::{PATIENCE, SOON, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// MD5 of "hello".
const HELLO: [u8; 16] =
    [0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92];

/// A server that reads a request, answers `response`, and then waits for the client to close.
async fn serve_keep_alive(response: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(response).await?;
        stream.read(&mut [0; 64]).await.map(drop)
    })
    .await
}

/// A server that reads a request, answers `response`, and closes.
async fn serve_and_close(response: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(response).await
    })
    .await
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(request).unwrap())
}

/// An address where nobody listens: no other test uses this host.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 66), 0)).await.unwrap();
    listener.local_addr().unwrap()
}

async fn run(probe: &impl Probe) -> Outcome {
    run_step(probe, 0).await
}

async fn run_step(probe: &impl Probe, step: usize) -> Outcome {
    let cx = Context::new(Attempt { step, retries: 0 }, Verdict::Up);
    timeout(PATIENCE, probe.run(&cx)).await.expect("a probe ends in time")
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Failure(failure) => Some(failure.reason),
        _ => None,
    }
}

fn connect(target: SocketAddr) -> Connect {
    Connect { connect_timeout: PATIENCE, ..Connect::to(target) }
}

fn impatient(target: SocketAddr) -> Connect {
    Connect { connect_timeout: SOON, ..Connect::to(target) }
}

fn get(connect: Connect) -> HttpGet {
    HttpGet::new(http::Config::new(connect, vec![Url::new("/")])).unwrap()
}

fn get_with_digest(connect: Connect, digest: [u8; 16]) -> HttpGet {
    let url = Url { digest: Some(digest), ..Url::new("/") };
    HttpGet::new(http::Config { protocol: Protocol::Http11, ..http::Config::new(connect, vec![url]) }).unwrap()
}

/// A listener whose queue is full, so that a further connection gets no answer.
async fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(SOON, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100, "a queue for one takes {} connections", queued.len());
    }
    (listener, queued)
}

mod tcp {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_up_and_sees_the_connection_closed_at_once() {
        let (sender, mut closed) = mpsc::unbounded_channel();
        let address = serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                let octets = stream.read(&mut [0; 64]).await?;
                sender.send(octets).unwrap();
                Ok(())
            }
        })
        .await;
        let outcome = run(&Tcp::new(connect(address))).await;
        assert_eq!(outcome, Outcome::success(vec![Note::TcpConnected]));
        assert_eq!(timeout(PATIENCE, closed.recv()).await.unwrap(), Some(0));
    }

    #[tokio::test]
    async fn a_closed_port_fails() {
        let outcome = run(&Tcp::new(connect(closed_port().await))).await;
        assert_eq!(reason(&outcome), Some(Reason::TcpFailed), "{outcome:?}");
    }

    #[tokio::test]
    async fn no_answer_is_a_time_out() {
        let (listener, _queued) = full_queue().await;
        let outcome = run(&Tcp::new(impatient(listener.local_addr().unwrap()))).await;
        assert_eq!(reason(&outcome), Some(Reason::TcpTimeout), "{outcome:?}");
    }

    /// Accepts one connection of the probe and returns where it came from.
    async fn source_of(options: impl FnOnce(Connect) -> Connect) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let probe = Tcp::new(options(connect(listener.local_addr().unwrap())));
        let (outcome, accepted) = tokio::join!(run(&probe), timeout(PATIENCE, listener.accept()));
        assert_eq!(outcome, Outcome::success(vec![Note::TcpConnected]));
        accepted.unwrap().unwrap().1
    }

    #[tokio::test]
    async fn bindto_is_the_source_address() {
        let source = source_of(|connect| Connect { bindto: Some([127, 0, 0, 2].into()), ..connect }).await;
        assert_eq!(source.ip(), Ipv4Addr::new(127, 0, 0, 2));
    }

    #[tokio::test]
    async fn bind_port_is_the_source_port_again_and_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let local = closed_port().await;
        let target = listener.local_addr().unwrap();
        let bound = Connect { bindto: Some(local.ip()), bind_port: Some(local.port()), ..connect(target) };
        let probe = Tcp::new(bound);
        for _ in 0..3 {
            let (outcome, accepted) = tokio::join!(run(&probe), timeout(PATIENCE, listener.accept()));
            assert_eq!(outcome, Outcome::success(vec![Note::TcpConnected]));
            assert_eq!(accepted.unwrap().unwrap().1, local);
        }
    }

    #[tokio::test]
    async fn bind_if_names_an_interface() {
        let source = source_of(|connect| Connect { bind_if: Some("lo".into()), ..connect }).await;
        assert!(source.ip().is_loopback());
    }

    #[tokio::test]
    async fn local_errors_fail_the_check() {
        let address = serve_and_close(b"").await;
        let no_interface = Connect { bind_if: Some("no-such-if".into()), ..connect(address) };
        let no_address = Connect { bindto: Some([192, 0, 2, 1].into()), ..connect(address) };
        for options in [no_interface, no_address] {
            assert_eq!(reason(&run(&Tcp::new(options.clone())).await), Some(Reason::TcpFailed));
            assert_eq!(reason(&run(&get(options)).await), Some(Reason::ConnectError));
        }
    }

    #[tokio::test]
    async fn ipv6_works_too() {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            eprintln!("skipped: no IPv6 loopback");
            return;
        };
        let outcome = run(&Tcp::new(connect(listener.local_addr().unwrap()))).await;
        assert_eq!(outcome, Outcome::success(vec![Note::TcpConnected]));
    }
}

/// A server on a free port that answers each datagram with what `answers` makes of it.
async fn serve_datagrams(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    serve_datagrams_at(Ipv4Addr::LOCALHOST.into(), answers).await.unwrap()
}

async fn serve_datagrams_at(
    local: std::net::IpAddr,
    answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> std::io::Result<SocketAddr> {
    let socket = UdpSocket::bind((local, 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            for answer in answers(&buffer[..length]) {
                let _ = socket.send_to(&answer, client).await;
            }
        }
    });
    Ok(address)
}

mod udp_check {
    use super::*;

    /// Requires a reply like this.
    fn requires(connect: Connect, pattern: &[u8]) -> Udp {
        let pattern = pattern.iter().map(|&value| ReplyByte { value, mask: 0xff }).collect();
        let require_reply = Some(Reply { pattern, ..Reply::default() });
        Udp::new(udp::Config { require_reply, ..udp::Config::new(connect) })
    }

    fn up() -> Outcome {
        Outcome::success(vec![Note::Udp])
    }

    #[tokio::test]
    async fn a_silent_server_is_up_unless_it_is_to_reply() {
        let address = serve_datagrams(|_| Vec::new()).await;
        assert_eq!(run(&Udp::new(udp::Config::new(impatient(address)))).await, up());
        let outcome = run(&requires(impatient(address), b"")).await;
        assert_eq!(reason(&outcome), Some(Reason::UdpTimeout), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_down_at_once() {
        let outcome = run(&Udp::new(udp::Config::new(connect(closed_port().await)))).await;
        assert_eq!(reason(&outcome), Some(Reason::UdpFailed), "{outcome:?}");
    }

    #[tokio::test]
    async fn the_payload_is_sent_and_the_reply_compared() {
        let address = serve_datagrams(|octets| vec![octets.to_vec()]).await;
        assert_eq!(run(&Udp::new(udp::Config::new(connect(address)))).await, up());
        assert_eq!(run(&requires(connect(address), b"keepalived check - keepalived ch")).await, up());
        let outcome = run(&requires(connect(address), b"keepalived czech")).await;
        assert_eq!(reason(&outcome), Some(Reason::UdpReply), "{outcome:?}");
        let own = udp::Config { payload: vec![1, 2, 3], ..udp::Config::new(connect(address)) };
        let reply = |min_length, max_length| Some(Reply { min_length, max_length, ..Reply::default() });
        let run_with = |require_reply| {
            let probe = Udp::new(udp::Config { require_reply, ..own.clone() });
            async move { run(&probe).await }
        };
        assert_eq!(run_with(reply(3, 3)).await, up());
        assert_eq!(reason(&run_with(reply(4, 9)).await), Some(Reason::UdpReply));
        assert_eq!(reason(&run_with(reply(0, 2)).await), Some(Reason::UdpReply));
    }

    #[tokio::test]
    async fn the_options_of_the_connection_hold() {
        let (sender, mut sources) = mpsc::unbounded_channel();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((_, source)) = socket.recv_from(&mut [0; 64]).await {
                socket.send_to(b"x", source).await.unwrap();
                sender.send(source).unwrap();
            }
        });
        let local = closed_port().await;
        let bound = Connect { bindto: Some(local.ip()), bind_port: Some(local.port()), ..connect(address) };
        for options in [bound.clone(), bound, Connect { bind_if: Some("lo".into()), ..connect(address) }] {
            let expected = options.bind_port;
            assert_eq!(run(&requires(options, b"x")).await, up());
            let source = timeout(PATIENCE, sources.recv()).await.unwrap().unwrap();
            assert!(expected.is_none_or(|_| source == local), "{source}");
        }
        let no_interface = Connect { bind_if: Some("no-such-if".into()), ..connect(address) };
        let no_address = Connect { bindto: Some([192, 0, 2, 1].into()), ..connect(address) };
        for options in [no_interface, no_address] {
            assert_eq!(reason(&run(&requires(options, b"x")).await), Some(Reason::UdpFailed));
        }
    }

    #[tokio::test]
    async fn ipv6_works_too() {
        let local = std::net::Ipv6Addr::LOCALHOST.into();
        let Ok(address) = serve_datagrams_at(local, |octets| vec![octets.to_vec()]).await else {
            eprintln!("skipped: no IPv6 loopback");
            return;
        };
        assert_eq!(run(&requires(connect(address), b"keep")).await, up());
        let outcome = run(&requires(connect(SocketAddr::new(local, 1)), b"")).await;
        assert_eq!(reason(&outcome), Some(Reason::UdpFailed), "{outcome:?}");
    }
}

mod dns_check {
    use super::*;

    fn ask(connect: Connect) -> Dns {
        let name = Name::parse("www.example.org").unwrap();
        Dns::new(dns::Config { name, record: RecordType::AAAA, ..dns::Config::new(connect) })
    }

    /// The header of a response with this code.
    fn response(query: &[u8], rcode: u8) -> Vec<u8> {
        [&query[..2], &[0x81, 0x80 | rcode], &query[4..12]].concat()
    }

    #[tokio::test]
    async fn a_response_without_error_is_a_success_even_without_records() {
        let question = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x1c\x00\x01";
        let answer = move |query: &[u8]| if &query[2..] == question { vec![response(query, 0)] } else { Vec::new() };
        let address = serve_datagrams(answer).await;
        assert_eq!(run(&ask(connect(address))).await, Outcome::success(Vec::new()));
    }

    #[tokio::test]
    async fn an_error_fails_at_once() {
        for rcode in [1, 2, 3, 5, 15] {
            let address = serve_datagrams(move |query| vec![response(query, rcode)]).await;
            let outcome = run(&ask(connect(address))).await;
            let line = format!("DNS_CHECK (x) read error occurred. (rcode = {rcode})");
            assert_eq!((reason(&outcome), outcome.lines("x")), (Some(Reason::DnsRcode), vec![line]));
        }
    }

    /// What is no response to the query.
    fn others(query: &[u8]) -> Vec<Vec<u8>> {
        let response = response(query, 3);
        let other_id = [&[!query[0], query[1]], &response[2..]].concat();
        vec![Vec::new(), other_id, query.to_vec(), response[..11].to_vec()]
    }

    #[tokio::test]
    async fn what_is_no_response_is_passed_over() {
        let address = serve_datagrams(|query| [others(query), vec![response(query, 0)]].concat()).await;
        assert_eq!(run(&ask(connect(address))).await, Outcome::success(Vec::new()));
        let address = serve_datagrams(others).await;
        assert_eq!(reason(&run(&ask(impatient(address))).await), Some(Reason::DnsTimeout));
    }

    #[tokio::test]
    async fn a_flood_does_not_go_on_for_longer_than_the_time_out() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let (_, client) = socket.recv_from(&mut [0; 512]).await.unwrap();
            while socket.send_to(&[0; 40], client).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(reason(&run(&ask(impatient(address))).await), Some(Reason::DnsTimeout));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_down_at_once() {
        let outcome = run(&ask(connect(closed_port().await))).await;
        let line = "DNS_CHECK (x) failed to read socket; errno 111 (Connection refused)";
        assert_eq!((reason(&outcome), outcome.lines("x")), (Some(Reason::DnsFailed), vec![line.to_owned()]));
    }

    #[tokio::test]
    async fn every_query_has_an_id_of_its_own() {
        let (sender, mut ids) = mpsc::unbounded_channel();
        let address = serve_datagrams(move |query| {
            sender.send([query[0], query[1]]).unwrap();
            vec![response(query, 0)]
        })
        .await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            run(&ask(connect(address))).await;
            seen.insert(timeout(PATIENCE, ids.recv()).await.unwrap().unwrap());
        }
        // Of 20 among 65,536 two are the same once in 345 runs, and three never.
        assert!(seen.len() >= 18, "{seen:?}");
    }
}

mod smtp_check {
    use super::*;

    /// A server that sends the first of `replies` at once, and one more for each line that it reads; then it closes.
    async fn serve_mail(replies: &'static [&'static str]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let (sender, lines) = mpsc::unbounded_channel();
        let address = serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                for reply in replies {
                    stream.write_all(reply.as_bytes()).await?;
                    let mut line = Vec::new();
                    while !line.ends_with(b"\r\n") {
                        line.push(stream.read_u8().await?);
                    }
                    sender.send(String::from_utf8(line).unwrap()).unwrap();
                }
                Ok(())
            }
        })
        .await;
        (address, lines)
    }

    async fn outcome(replies: &'static [&'static str]) -> Outcome {
        let (address, _lines) = serve_mail(replies).await;
        run(&Smtp::new(smtp::Config::new(connect(address)))).await
    }

    fn up() -> Outcome {
        Outcome::success(vec![Note::SmtpServer])
    }

    #[tokio::test]
    async fn a_dialogue_is_a_greeting_and_a_farewell() {
        let (address, mut lines) =
            serve_mail(&["220 mail.example.org ESMTP\r\n", "250 hello\r\n", "221 Bye\r\n"]).await;
        let named = |name| {
            let helo_name = HeloName::new(name).unwrap();
            Smtp::new(smtp::Config { helo_name, ..smtp::Config::new(connect(address)) })
        };
        for (probe, name) in [
            (Smtp::new(smtp::Config::new(connect(address))), "smtpchecker.keepalived.org"),
            (named("lb1.example.com"), "lb1.example.com"),
        ] {
            assert_eq!(run(&probe).await, up());
            for expected in [format!("HELO {name}\r\n"), "QUIT\r\n".to_owned()] {
                assert_eq!(timeout(PATIENCE, lines.recv()).await.unwrap(), Some(expected));
            }
        }
    }

    #[tokio::test]
    async fn replies_of_many_lines_are_read_to_their_end() {
        let replies =
            &["220-mail.example.org\r\n220-second\r\n220 last\r\n", "250-mail\r\n250 SIZE\r\n", "221-a\r\n221 b\r\n"];
        assert_eq!(outcome(replies).await, up());
    }

    #[tokio::test]
    async fn every_step_may_fail() {
        const HELLO: &str = "220 hello\r\n";
        for (replies, expected) in [
            (&["554 no\r\n"][..], Reason::SmtpGreeting),
            (&["250 no\r\n"], Reason::SmtpGreeting),
            (&[HELLO, "550 go\r\n"], Reason::SmtpHelo),
            (&[HELLO, "220 again\r\n"], Reason::SmtpHelo),
            (&["HTTP/1.0 400 Bad Request\r\n"], Reason::SmtpRead),
            (&[], Reason::SmtpRead),
            (&[HELLO], Reason::SmtpRead),
            (&[HELLO, "250 ok\r\n"], Reason::SmtpRead),
        ] {
            let found = outcome(replies).await;
            assert_eq!(reason(&found), Some(expected), "{replies:?}: {found:?}");
        }
        // Whatever the answer to the farewell.
        assert_eq!(outcome(&[HELLO, "250 ok\r\n", "500 what?\r\n"]).await, up());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_nothing_fails() {
        let ask = |connect| async { reason(&run(&Smtp::new(smtp::Config::new(connect))).await) };
        assert_eq!(ask(connect(closed_port().await)).await, Some(Reason::SmtpConnect));
        let (listener, _queued) = full_queue().await;
        assert_eq!(ask(impatient(listener.local_addr().unwrap())).await, Some(Reason::SmtpConnectTimeout));
        for begun in ["", "220-so far\r\n"] {
            let address = serve(move |mut stream| async move {
                stream.write_all(begun.as_bytes()).await?;
                stream.read(&mut [0; 64]).await.map(drop)
            })
            .await;
            assert_eq!(ask(impatient(address)).await, Some(Reason::SmtpReadTimeout));
        }
    }

    #[tokio::test]
    async fn a_greeting_without_end_is_given_up() {
        let address = serve(|mut stream| async move {
            loop {
                stream.write_all(b"220-and more\r\n").await?;
            }
        })
        .await;
        let found = run(&Smtp::new(smtp::Config::new(connect(address)))).await;
        assert_eq!(reason(&found), Some(Reason::SmtpRead), "{found:?}");
    }
}

mod http_get {
    use super::*;

    fn assert_up(outcome: &Outcome) {
        let Outcome::Success { notes, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(notes.last(), Some(&Note::WebServer));
    }

    #[tokio::test]
    async fn a_server_that_answers_and_closes_is_up() {
        let address = serve_and_close(b"HTTP/1.0 200 OK\r\n\r\nhello").await;
        assert_up(&run(&get(connect(address))).await);
        assert_up(&run(&get_with_digest(connect(address), HELLO)).await);
    }

    #[tokio::test]
    async fn a_keep_alive_server_is_up_if_its_body_has_a_length() {
        let address = serve_keep_alive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_up(&run(&get_with_digest(connect(address), HELLO)).await);
        let address = serve_keep_alive(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_up(&run(&get(connect(address))).await);
    }

    #[tokio::test]
    async fn a_keep_alive_server_is_up_if_its_body_has_chunks() {
        let address =
            serve_keep_alive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
                .await;
        assert_up(&run(&get_with_digest(connect(address), HELLO)).await);
    }

    #[tokio::test]
    async fn a_body_without_end_is_a_time_out() {
        let address = serve_keep_alive(b"HTTP/1.1 200 OK\r\n\r\nhello").await;
        let outcome = run(&get(impatient(address))).await;
        assert_eq!(reason(&outcome), Some(Reason::ReadTimeout), "{outcome:?}");
    }

    #[tokio::test]
    async fn urls_are_steps_with_a_connection_each() {
        let (sender, mut requests) = mpsc::unbounded_channel();
        let address = serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                sender.send(read_request(&mut stream).await?).unwrap();
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await
            }
        })
        .await;
        let second = Url { virtualhost: Some("second.example.org".into()), ..Url::new("/second") };
        let config = http::Config::new(connect(address), vec![Url::new("/first"), second]);
        let probe = HttpGet::new(config).unwrap();
        let passed = vec![Note::StatusCode { path: "/first".into() }];
        assert_eq!(run_step(&probe, 0).await, Outcome::progress(passed));
        assert_up(&run_step(&probe, 1).await);
        let expected = [
            format!("GET /first HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: {address}\r\n\r\n"),
            "GET /second HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: second.example.org\r\n\r\n".into(),
        ];
        for request in expected {
            assert_eq!(timeout(PATIENCE, requests.recv()).await.unwrap(), Some(request));
        }
    }

    #[tokio::test]
    async fn a_wrong_status_or_digest_fails() {
        let address = serve_and_close(b"HTTP/1.0 503 Busy\r\n\r\nhello").await;
        assert_eq!(reason(&run(&get(connect(address))).await), Some(Reason::StatusCode));
        let address = serve_and_close(b"HTTP/1.0 200 OK\r\n\r\nbye").await;
        let outcome = run(&get_with_digest(connect(address), HELLO)).await;
        assert_eq!(reason(&outcome), Some(Reason::Digest));
    }

    #[tokio::test]
    async fn what_is_not_http_fails() {
        let address = serve_and_close(b"220 mail.example.org ESMTP\r\n\r\n").await;
        assert_eq!(reason(&run(&get(connect(address))).await), Some(Reason::StatusCode));
    }

    #[tokio::test]
    async fn a_closed_port_and_a_silent_one_are_told_apart() {
        let outcome = run(&get(connect(closed_port().await))).await;
        assert_eq!(reason(&outcome), Some(Reason::ConnectFailed));
        let (listener, _queued) = full_queue().await;
        let outcome = run(&get(impatient(listener.local_addr().unwrap()))).await;
        assert_eq!(reason(&outcome), Some(Reason::ConnectTimeout));
    }

    #[tokio::test]
    async fn a_server_that_closes_without_an_answer_fails() {
        let address = serve_and_close(b"").await;
        assert_eq!(reason(&run(&get(connect(address))).await), Some(Reason::Read));
        let address = serve_and_close(b"HTTP/1.0 200 OK\r\nServer: x\r\n").await;
        assert_eq!(reason(&run(&get(connect(address))).await), Some(Reason::Read));
    }

    #[tokio::test]
    async fn a_server_that_resets_within_its_answer_fails() {
        let address = serve(|mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nhello").await?;
            stream.set_zero_linger()
        })
        .await;
        assert_eq!(reason(&run(&get(connect(address))).await), Some(Reason::Read));
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_a_time_out() {
        let address = serve_keep_alive(b"").await;
        assert_eq!(reason(&run(&get(impatient(address))).await), Some(Reason::ReadTimeout));
    }

    #[tokio::test]
    async fn a_slow_server_is_up_if_no_silence_is_too_long() {
        let pace = Duration::from_millis(10);
        let address = serve(move |mut stream| async move {
            stream.set_nodelay(true)?;
            read_request(&mut stream).await?;
            for octet in b"HTTP/1.0 200 OK\r\nServer: slow\r\nX: y\r\n\r\nhello" {
                stream.write_u8(*octet).await?;
                sleep(pace).await;
            }
            Ok(())
        })
        .await;
        let start = Instant::now();
        let patience = Duration::from_millis(400);
        let options = Connect { connect_timeout: patience, ..Connect::to(address) };
        assert_up(&run(&get_with_digest(options, HELLO)).await);
        assert!(start.elapsed() > patience, "the whole takes longer than one silence may");
    }

    #[tokio::test]
    async fn a_server_that_trickles_for_ever_is_a_time_out() {
        let address = serve(|mut stream| async move {
            stream.write_all(b"HTTP/1.0 200 OK\r\n").await?;
            loop {
                stream.write_u8(b'x').await?;
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let config = http::Config::new(connect(address), vec![Url::new("/")]);
        let probe = HttpGet::new(http::Config { response_timeout: SOON, ..config }).unwrap();
        assert_eq!(reason(&run(&probe).await), Some(Reason::ReadTimeout));
    }

    #[tokio::test]
    async fn a_server_that_floods_for_ever_is_a_time_out() {
        let address = serve(|mut stream| async move {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 65536]).await?;
            }
        })
        .await;
        let config = http::Config::new(connect(address), vec![Url::new("/")]);
        let probe = HttpGet::new(http::Config { response_timeout: SOON, ..config }).unwrap();
        assert_eq!(reason(&run(&probe).await), Some(Reason::ReadTimeout));
    }

    #[tokio::test]
    async fn an_endless_header_is_refused() {
        let address = serve(|mut stream| async move {
            stream.write_all(b"HTTP/1.0 200 OK\r\n").await?;
            loop {
                stream.write_all(b"X-Filler: nothing\r\n").await?;
            }
        })
        .await;
        let outcome = run(&get(connect(address))).await;
        assert_eq!(reason(&outcome), Some(Reason::Read), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_dropped_try_closes_its_connection() {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let address = serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                read_request(&mut stream).await?;
                sender.send(false).unwrap();
                assert_eq!(stream.read(&mut [0; 64]).await?, 0);
                sender.send(true).unwrap();
                Ok(())
            }
        })
        .await;
        let probe = get(connect(address));
        {
            let mut attempt = pin!(run(&probe));
            let asked = tokio::select! {
                asked = ended.recv() => asked,
                outcome = &mut attempt => panic!("{outcome:?}"),
            };
            assert_eq!(asked, Some(false));
        }
        assert_eq!(timeout(PATIENCE, ended.recv()).await.unwrap(), Some(true));
    }
}
