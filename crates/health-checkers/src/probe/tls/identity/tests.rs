use super::*;

const SEC1: &[u8] = include_bytes!("ec.sec1.pem");
const PLAIN: &[u8] = include_bytes!("ec.pem");
/// As `openssl pkcs8 -topk8` of OpenSSL 3 makes it.
const AES: &[u8] = include_bytes!("ec.aes.pem");
/// As OpenSSL 1.0 made it.
const DES3: &[u8] = include_bytes!("ec.des3.pem");
const SCRYPT: &[u8] = include_bytes!("ec.scrypt.pem");
const PBES1: &[u8] = include_bytes!("ec.pbes1.pem");
const OLD: &[u8] = include_bytes!("ec.old.pem");

const PASSWORD: &str = "sesame";

fn wrong(pem: &[u8], password: Option<&str>) -> IdentityError {
    Key::from_pem(pem, password).unwrap_err()
}

#[test]
fn an_encrypted_key_is_the_plain_one() {
    let plain = Key::from_pem(PLAIN, None).unwrap();
    for encrypted in [AES, DES3, SCRYPT] {
        assert_eq!(Key::from_pem(encrypted, Some(PASSWORD)).unwrap().der(), plain.der());
    }
    // A password for what needs none.
    assert_eq!(Key::from_pem(PLAIN, Some("other")).unwrap().der(), plain.der());
}

#[test]
fn a_key_goes_through_der() {
    for pem in [SEC1, PLAIN] {
        let key = Key::from_pem(pem, None).unwrap();
        assert_eq!(Key::from_der(key.der()).unwrap().der(), key.der());
    }
    assert_eq!(Key::from_der(b"secret").unwrap_err(), IdentityError::NoKey);
}

#[test]
fn the_first_key_among_other_things_counts() {
    let file = [b"Bag Attributes\n", AES, PLAIN, b"\n"].concat();
    assert!(Key::from_pem(&file, None).is_ok());
    let file = [b"Bag Attributes\n", AES, b"\nmore\n"].concat();
    assert!(Key::from_pem(&file, Some(PASSWORD)).is_ok());
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    assert_eq!(wrong(AES, None), IdentityError::NoPassword);
    for encrypted in [AES, DES3, SCRYPT] {
        assert_eq!(wrong(encrypted, Some("other")), IdentityError::WrongPassword);
    }
    assert_eq!(wrong(PBES1, Some(PASSWORD)), IdentityError::Encryption);
    assert_eq!(wrong(OLD, Some(PASSWORD)), IdentityError::OldEncryption);
    assert_eq!(wrong(b"", None), IdentityError::NoKey);
    assert_eq!(wrong(&PLAIN[..PLAIN.len() - 30], None), IdentityError::NotPem);
    assert_eq!(wrong(&AES[..AES.len() - 30], Some(PASSWORD)), IdentityError::NotPem);
    assert_eq!(certificates(PLAIN), Err(IdentityError::NoCertificate));
}

#[test]
fn neither_key_nor_password_is_ever_printed() {
    let key = Key::from_pem(PLAIN, None).unwrap();
    let identity = Identity::new(vec![vec![1, 2, 3]], key);
    let told = format!("{identity:?}");
    assert!(told.contains("key: ********"), "{told}");
    let damaged = [b"-----BEGIN PRIVATE KEY-----\nsecret~sesame\n".as_slice(), b"-----END PRIVATE KEY-----\n"].concat();
    for error in [wrong(&damaged, None), wrong(b"-----BEGIN secret", None), wrong(AES, Some("secret"))] {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("secret") && !told.contains(PASSWORD), "{told}");
    }
}

/// A certificate about `subject`, signed by `issuer`, or by itself.
fn certificate(
    subject: &str,
    issuer: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>,
) -> (Vec<u8>, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, subject);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    (certificate.unwrap().der().to_vec(), rcgen::Issuer::new(params, key))
}

#[test]
fn a_certificate_alone_is_completed_from_the_authorities_but_for_the_root() {
    let (root, by_root) = certificate("root", None);
    let (first, by_first) = certificate("first", Some(&by_root));
    let (second, by_second) = certificate("second", Some(&by_first));
    let (own, _) = certificate("own", Some(&by_second));
    let (stranger, _) = certificate("stranger", None);
    let authorities = [root.clone(), first.clone(), stranger.clone(), b"damaged".to_vec(), second.clone()];
    let expected = vec![own.clone(), second.clone(), first];
    assert_eq!(completed(vec![own.clone()], &authorities), expected);
    assert_eq!(completed(vec![own.clone()], std::slice::from_ref(&root)), std::slice::from_ref(&own));
    assert_eq!(completed(vec![stranger.clone()], &authorities), [stranger]);
    // Who wrote a chain means that one.
    assert_eq!(completed(vec![own.clone(), root.clone()], &authorities), [own, root]);
}

#[test]
fn authorities_in_a_ring_are_taken_once_each() {
    let (_, by_a) = certificate("a", None);
    let (b, by_b) = certificate("b", Some(&by_a));
    let (a, by_a) = certificate("a", Some(&by_b));
    let (own, _) = certificate("own", Some(&by_a));
    assert_eq!(completed(vec![own.clone()], &[a.clone(), b.clone()]), [own, a, b]);
}
