//! A web server over TLS, with a certificate that nobody has signed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use netlab::harness::Stop;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers until this process ends: there is a page at `/`, and no other.
pub(crate) fn serve(listener: TcpListener) -> Result<(), Stop> {
    let certified = rcgen::generate_simple_self_signed(["other.example.org".to_owned()])?;
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).map_err(Stop::failed)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who goes away early is no matter.
            let _answered = answer(stream, &config);
        }
    });
    Ok(())
}

fn answer(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        request.extend(octet);
    }
    let status = if request.starts_with(b"GET / ") { "200 OK" } else { "404 Not Found" };
    write!(stream, "HTTP/1.0 {status}\r\nContent-Length: 5\r\n\r\nhello")?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}
