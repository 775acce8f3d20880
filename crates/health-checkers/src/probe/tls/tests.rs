use super::*;

fn name(host: &str) -> Option<String> {
    Name::of_host(host).unwrap().map(|name| name.0.as_ref().to_owned())
}

#[test]
fn the_port_of_a_host_is_no_part_of_its_name() {
    for host in ["www.example.org", "www.example.org:443", "www.example.org.", "www.example.org.:443"] {
        assert_eq!(name(host).as_deref(), Some("www.example.org"), "{host}");
    }
    assert_eq!(name("some_host").as_deref(), Some("some_host"));
}

#[test]
fn an_address_is_no_name() {
    for host in ["192.0.2.1", "192.0.2.1:443", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
        assert_eq!(name(host), None, "{host}");
    }
}

#[test]
fn what_no_server_can_be_told_is_refused() {
    for host in ["", "two words", "a..b", ":443"] {
        let wrong = format!("{host:?} is no name that a TLS server can be told");
        assert_eq!(Name::of_host(host).unwrap_err().to_string(), wrong);
    }
}

#[test]
fn a_client_that_follows_another_is_the_same_for_its_clones() {
    let (client, other) = (Client::new(None).unwrap(), Client::new(None).unwrap());
    let clone = client.clone();
    assert!(!Arc::ptr_eq(&clone.config(), &other.config()));
    client.follow(&other);
    assert!(Arc::ptr_eq(&clone.config(), &other.config()));
}

#[test]
fn what_a_server_lacks_is_told_with_what_to_do() {
    for (error, word) in [
        (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), "TLS 1.2 or 1.3"),
        (PeerIncompatible::ServerDoesNotSupportTls12Or13.into(), "TLS 1.2 or 1.3"),
        (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), "ECDHE"),
        (PeerIncompatible::NoCipherSuitesInCommon.into(), "ECDHE"),
        (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "client certificate"),
        (rustls::Error::AlertReceived(AlertDescription::UnrecognisedName), "sni_name"),
        (InvalidMessage::InvalidContentType.into(), "HTTP_GET"),
    ] {
        let told = cause(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(told.contains(word), "{told}");
    }
    assert_eq!(cause(&io::ErrorKind::UnexpectedEof.into()), "the server closed the connection");
    assert_eq!(cause(&io::ErrorKind::ConnectionReset.into()), "connection reset");
}
