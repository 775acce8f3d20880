//! `SSL_GET` against TLS servers on the loopback interface: rustls, and OpenSSL's where it is installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::Future,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use health_checkers::{
    outcome::{Failure, Note, Outcome, Reason},
    probe::{
        Connect, Context, Probe as _,
        http::{self, Url},
        ssl::{self, Session, SslGet},
        tls::{Client, Identity, IdentityError, Key, Name, certificates},
    },
    schedule::{Attempt, Verdict},
};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use support::{PATIENCE, SOON, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";
const WITH_LENGTH: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A certificate that nobody has signed, for a name that nobody asks for.
fn certified() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["other.example.org".to_owned()]).unwrap()
}

fn identity(certified: &CertifiedKey<KeyPair>) -> Identity {
    let key = Key::from_pem(certified.signing_key.serialize_pem().as_bytes(), None).unwrap();
    Identity::new(vec![certified.cert.der().to_vec()], key)
}

/// A server that speaks `versions`, and demands a certificate that `clients` have if there are any.
fn server(
    versions: &[&'static rustls::SupportedProtocolVersion],
    clients: Option<&CertifiedKey<KeyPair>>,
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let certified = certified();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    builder.with_single_cert(vec![CertificateDer::from(certified.cert.der().to_vec())], key).unwrap()
}

/// A server that reads a request over TLS and goes on with `treat`.
async fn serve_tls<F>(
    config: ServerConfig,
    treat: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let treat = Arc::new(treat);
    serve(move |stream| {
        let (acceptor, treat) = (acceptor.clone(), Arc::clone(&treat));
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            treat(stream).await
        }
    })
    .await
}

/// Answers, and ends the session as it should be ended.
async fn answer(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(RESPONSE).await?;
    stream.shutdown().await
}

/// Answers, and closes the connection without a word.
async fn hang_up(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(RESPONSE).await?;
    stream.flush().await?;
    stream.into_inner().0.shutdown().await
}

fn config(target: SocketAddr) -> ssl::Config {
    let connect = Connect { connect_timeout: PATIENCE, ..Connect::to(target) };
    let http = http::Config::new(connect, vec![Url::new("/")]);
    ssl::Config { http, client: Client::new(None).unwrap(), sessions: Vec::new() }
}

fn with(target: SocketAddr, session: Session) -> ssl::Config {
    ssl::Config { sessions: vec![session], ..config(target) }
}

fn compliant(target: SocketAddr) -> ssl::Config {
    with(target, Session { close_notify: true, ..Session::default() })
}

async fn run(config: ssl::Config) -> Outcome {
    let cx = Context::new(Attempt { step: 0, retries: 0 }, Verdict::Up);
    timeout(PATIENCE * 2, SslGet::new(config).unwrap().run(&cx)).await.expect("a probe ends in time")
}

fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Success { notes, .. } if notes.contains(&Note::WebServer))
}

/// The reason, and the detail, which has `words` in it.
fn assert_fails(outcome: Outcome, reason: Reason, words: &str) {
    let Outcome::Failure(Failure { reason: found, detail }) = outcome else { panic!("{outcome:?}") };
    let detail = detail.unwrap_or_default();
    assert!(found == reason && detail.contains(words), "{found:?}: {detail}");
}

#[tokio::test]
async fn each_version_is_spoken_and_no_certificate_is_verified() {
    for version in [&TLS12, &TLS13] {
        let outcome = run(config(serve_tls(server(&[version], None), answer).await)).await;
        assert!(is_success(&outcome), "{version:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_page_is_judged_as_over_a_plain_connection() {
    let target = serve_tls(server(&[&TLS13], None), answer).await;
    let mut wrong = config(target);
    wrong.http.urls[0].status_code = vec![404..=404];
    assert_fails(run(wrong).await, Reason::StatusCode, "200");
    let mut wrong = config(target);
    wrong.http.urls[0].digest = Some([0; 16]);
    assert_fails(run(wrong).await, Reason::Digest, "5d41402abc4b2a76b9719d911017c592");
    let mut steps = config(target);
    steps.http.urls.push(Url::new("/next"));
    assert!(matches!(run(steps).await, Outcome::Progress { .. }));
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_end_of_the_body_unless_a_notification_is_asked_for() {
    for version in [&TLS12, &TLS13] {
        let target = serve_tls(server(&[version], None), hang_up).await;
        let outcome = run(config(target)).await;
        assert!(is_success(&outcome), "{version:?}: {outcome:?}");
        assert_fails(run(compliant(target)).await, Reason::TlsRead, "without a close_notify");
        let outcome = run(compliant(serve_tls(server(&[version], None), answer).await)).await;
        assert!(is_success(&outcome), "{version:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn the_server_is_notified_of_the_end_if_that_is_asked_for() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let target = serve_tls(server(&[&TLS12, &TLS13], None), move |mut stream| {
        let sender = sender.clone();
        async move {
            stream.write_all(WITH_LENGTH).await?;
            stream.flush().await?;
            let end = stream.read(&mut [0; 64]).await.map_err(|error| error.kind());
            stream.shutdown().await?;
            sender.send(end).unwrap();
            Ok(())
        }
    })
    .await;
    assert!(is_success(&run(compliant(target)).await));
    assert_eq!(timeout(PATIENCE, ends.recv()).await.unwrap(), Some(Ok(0)));
    assert!(is_success(&run(config(target)).await));
    let end = timeout(PATIENCE, ends.recv()).await.unwrap();
    assert!(end.is_some_and(|end| end.is_err()), "{end:?}");
}

#[tokio::test]
async fn a_server_that_does_not_end_a_session_fails_where_that_is_asked_for() {
    let target = serve_tls(server(&[&TLS13], None), |mut stream| async move {
        stream.write_all(WITH_LENGTH).await?;
        stream.flush().await?;
        std::future::pending().await
    })
    .await;
    let mut impatient = compliant(target);
    impatient.http.connect.connect_timeout = SOON * 4;
    assert_fails(run(impatient).await, Reason::TlsReadTimeout, "does not end the session");
}

#[tokio::test]
async fn the_server_is_told_its_name_or_none() {
    let (sender, mut names) = mpsc::unbounded_channel();
    let target = serve_tls(server(&[&TLS12, &TLS13], None), move |stream| {
        sender.send(stream.get_ref().1.server_name().map(str::to_owned)).unwrap();
        answer(stream)
    })
    .await;
    for host in [Some("www.example.org"), None] {
        let server_name = host.and_then(|host| Name::of_host(host).unwrap());
        assert!(is_success(&run(with(target, Session { server_name, ..Session::default() })).await));
        assert_eq!(timeout(PATIENCE, names.recv()).await.unwrap(), Some(host.map(str::to_owned)));
    }
}

#[tokio::test]
async fn each_url_has_its_session() {
    let (sender, mut names) = mpsc::unbounded_channel();
    let target = serve_tls(server(&[&TLS13], None), move |stream| {
        sender.send(stream.get_ref().1.server_name().map(str::to_owned)).unwrap();
        answer(stream)
    })
    .await;
    let session = |host| Session { server_name: Name::of_host(host).unwrap(), ..Session::default() };
    let mut config = config(target);
    config.http.urls = vec![Url::new("/"), Url::new("/"), Url::new("/")];
    config.sessions = vec![session("a.example.org"), session("b.example.org")];
    let get = SslGet::new(config).unwrap();
    for (step, expected) in [(0, Some("a.example.org")), (1, Some("b.example.org")), (2, None)] {
        let cx = Context::new(Attempt { step, retries: 0 }, Verdict::Up);
        timeout(PATIENCE, get.run(&cx)).await.unwrap();
        assert_eq!(names.recv().await, Some(expected.map(str::to_owned)));
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_in_time() {
    let target = serve(|mut stream| async move {
        while stream.read(&mut [0; 512]).await? > 0 {}
        Ok(())
    })
    .await;
    let mut impatient = config(target);
    impatient.http.connect.connect_timeout = SOON;
    assert_fails(run(impatient).await, Reason::TlsHandshake, "silent");
}

#[tokio::test]
async fn a_session_that_falls_silent_ends_in_time() {
    let target = serve_tls(server(&[&TLS13], None), |stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let mut impatient = config(target);
    impatient.http.connect.connect_timeout = SOON * 4;
    assert_fails(run(impatient).await, Reason::TlsReadTimeout, "");
}

#[tokio::test]
async fn a_server_that_speaks_plain_http_or_hangs_up_fails() {
    let plain = serve(|mut stream| async move {
        let _hello = stream.read(&mut [0; 512]).await?;
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await
    })
    .await;
    assert_fails(run(config(plain)).await, Reason::TlsHandshake, "HTTP_GET");
    let gone = serve(|mut stream| async move { stream.read(&mut [0; 512]).await.map(drop) }).await;
    assert_fails(run(config(gone)).await, Reason::TlsHandshake, "closed the connection");
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 67), 0)).await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    assert_fails(run(config(closed)).await, Reason::ConnectFailed, "refused");
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_demanded() {
    let known = certified();
    for version in [&TLS12, &TLS13] {
        let target = serve_tls(server(&[version], Some(&known)), answer).await;
        let client = Client::new(Some(identity(&known))).unwrap();
        let outcome = run(ssl::Config { client, ..config(target) }).await;
        assert!(is_success(&outcome), "{version:?}: {outcome:?}");
        let stranger = Client::new(Some(identity(&certified()))).unwrap();
        for client in [Client::new(None).unwrap(), stranger] {
            // In TLS 1.3 the server decides after the client's handshake is over.
            let reason = if version.version == TLS12.version { Reason::TlsHandshake } else { Reason::TlsRead };
            assert_fails(run(ssl::Config { client, ..config(target) }).await, reason, "client certificate");
        }
    }
}

#[tokio::test]
async fn a_probe_shows_what_its_client_has_become() {
    let known = certified();
    let target = serve_tls(server(&[&TLS13], Some(&known)), answer).await;
    let client = Client::new(None).unwrap();
    let config = ssl::Config { client: client.clone(), ..config(target) };
    assert!(!is_success(&run(config.clone()).await));
    client.follow(&Client::new(Some(identity(&known))).unwrap());
    assert!(is_success(&run(config).await));
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let certificates = vec![certified().cert.der().to_vec()];
    let key = Key::from_pem(certified().signing_key.serialize_pem().as_bytes(), None).unwrap();
    assert_eq!(Client::new(Some(Identity::new(certificates, key))).unwrap_err(), IdentityError::Mismatch);
}

/// A server of OpenSSL that answers 200; ends when dropped.
struct OpenSsl {
    child: Child,
    address: SocketAddr,
    files: tempfile::TempDir,
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn openssl(directory: &Path, words: &str) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(words.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(Stdio::null()).status().unwrap().success()
}

impl OpenSsl {
    /// With a key that `generate` makes, a certificate of X.509 version 1 and these options of `s_server`.
    fn start(generate: &str, options: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = files.path();
        for words in [
            &format!("{generate} -out key.pem"),
            "req -new -key key.pem -subj /CN=other -out request.pem",
            "x509 -req -in request.pem -key key.pem -out certificate.pem",
        ] {
            assert!(openssl(path, words), "openssl {words}");
        }
        let mut command = Command::new("openssl");
        command.current_dir(path).args(["s_server", "-accept", "127.0.0.1:0", "-www"]);
        command.args(["-key", "key.pem", "-cert", "certificate.pem"]).args(options.split_whitespace());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.filter_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok()).next();
        let address = address.unwrap_or_else(|| panic!("openssl s_server {options} does not listen"));
        Self { child, address, files }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.path().join(name)).unwrap()
    }
}

/// Whether OpenSSL is there; says so if it is not.
fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: no openssl on this host");
    }
    found
}

const P256: &str = "ecparam -genkey -noout -name prime256v1";
const RSA: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";

#[tokio::test]
async fn servers_of_openssl_are_taken_whatever_their_certificate_is() {
    if !has_openssl() {
        return;
    }
    for (generate, options) in [
        (P256, ""),
        (RSA, "-tls1_2"),
        ("ecparam -genkey -noout -name secp521r1", ""),
        ("genpkey -algorithm ED25519", ""),
        ("genpkey -algorithm ED448", ""),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-tls1_3 -cipher ALL:@SECLEVEL=0"),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "-tls1_2 -cipher ALL:@SECLEVEL=0 -sigalgs RSA+SHA1 -client_sigalgs RSA+SHA1",
        ),
    ] {
        let server = OpenSsl::start(generate, options);
        let outcome = run(config(server.address)).await;
        assert!(is_success(&outcome), "{generate} {options}: {outcome:?}");
    }
}

#[tokio::test]
async fn servers_of_openssl_take_a_certificate_of_version_1() {
    if !has_openssl() {
        return;
    }
    for (generate, version) in [(P256, "-tls1_2"), (P256, "-tls1_3"), (RSA, "-tls1_3")] {
        let demand = format!("{version} -Verify 1 -verify_return_error -CAfile certificate.pem");
        let server = OpenSsl::start(generate, &demand);
        assert!(!is_success(&run(config(server.address)).await), "{generate} {version}: it demands one");
        let key = Key::from_pem(&server.file("key.pem"), None).unwrap();
        let certificates = certificates(&server.file("certificate.pem")).unwrap();
        let client = Client::new(Some(Identity::new(certificates, key))).unwrap();
        let outcome = run(ssl::Config { client, ..config(server.address) }).await;
        assert!(is_success(&outcome), "{generate} {version}: {outcome:?}");
    }
}

#[tokio::test]
async fn servers_of_openssl_that_are_out_of_date_are_told_what_to_do() {
    if !has_openssl() {
        return;
    }
    for (generate, options, word) in [
        (P256, "-tls1_1 -cipher ALL:@SECLEVEL=0", "TLS 1.2 or 1.3"),
        (P256, "-tls1 -cipher ALL:@SECLEVEL=0", "TLS 1.2 or 1.3"),
        (RSA, "-tls1_2 -cipher kRSA", "RSA key exchange"),
        (RSA, "-tls1_2 -cipher kDHE", "DHE"),
        ("ecparam -genkey -noout -name secp521r1", "-tls1_2", "P-521"),
        (RSA, "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256", "CBC"),
        (P256, "-tls1_2 -Verify 1 -verify_return_error", "client certificate"),
        (P256, "-servername www.example.org -cert2 certificate.pem -key2 key.pem -servername_fatal", "sni_name"),
    ] {
        let server = OpenSsl::start(generate, options);
        let server_name = Name::of_host("wrong.example.org").unwrap();
        let outcome = run(with(server.address, Session { server_name, ..Session::default() })).await;
        assert_fails(outcome, Reason::TlsHandshake, word);
    }
}
