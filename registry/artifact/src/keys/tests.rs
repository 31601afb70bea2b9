//! Keys and their files.

use super::*;

fn none() -> Result<Vec<u8>> {
    panic!("no passphrase is needed")
}

#[test]
fn a_key_goes_through_its_file() {
    for kind in [KeyType::P256, KeyType::Ed25519] {
        let key = PrivateKey::generate(kind).unwrap();
        let text = key.to_sealed_pem(b"open sesame").unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{text}");
        let read = PrivateKey::from_pem(&text, "k", || Ok(b"open sesame".to_vec())).unwrap();
        assert_eq!(read.public(), key.public());
        let public = PublicKey::from_pem(&key.public().to_pem(), "p").unwrap();
        assert_eq!((&public, public.kind()), (key.public(), kind));
        let signature = read.sign(b"message").unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"Message", &signature) && !public.verifies(b"message", &[]));
        let other = PrivateKey::generate(kind).unwrap();
        assert!(!other.public().verifies(b"message", &signature));
        for wrong in [&b""[..], b"open sesam", b"open sesame "] {
            let error = PrivateKey::from_pem(&text, "k.key", || Ok(wrong.to_vec())).unwrap_err();
            assert_eq!(error.to_string(), "k.key: it does not open with this passphrase");
        }
    }
    assert!(PrivateKey::generate(KeyType::P384).is_err());
}

#[test]
fn plain_keys_of_openssl_are_read() {
    // `openssl ecparam -name prime256v1 -genkey -noout`, SEC 1; made for this test.
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIDj6Zo5vG1RIcVAkYdLMNI6uyTJpNDEBdhcMvOBqzcVEoAoGCCqGSM49\n\
        AwEHoUQDQgAE";
    assert!(PrivateKey::from_pem(sec1, "cut", none).is_err(), "a cut file is none");
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let sealed = key.to_sealed_pem(b"").unwrap();
    let opened = pem::parse(&sealed).unwrap();
    let der = sealed::open(opened.contents(), b"", "k").unwrap();
    let plain = private::pem_text("PRIVATE KEY", der);
    assert_eq!(PrivateKey::from_pem(&plain, "plain", none).unwrap().public(), key.public());
}

#[test]
fn what_is_no_key_is_told_from_one() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let (private, public) = (key.to_sealed_pem(b"x").unwrap(), key.public().to_pem());
    let said = |error: Error| error.to_string();
    let as_public = |text: &str| said(PublicKey::from_pem(text, "f").unwrap_err());
    let as_private = |text: &str| said(PrivateKey::from_pem(text, "f", none).unwrap_err());
    assert!(as_public(&private).contains("it is a private key"), "{}", as_public(&private));
    assert!(as_private(&public).contains("it is a public key"));
    assert!(
        as_public("rubbish").contains("no public key") && as_private("").contains("no private")
    );
    for tag in ["CERTIFICATE", "RSA PRIVATE KEY", "PUBLIC KEY"] {
        let text = private::pem_text(tag, vec![0x30, 3, 1, 2, 3]);
        let _ = (as_public(&text), as_private(&text));
    }
    // RSA: a sound key of a kind that is not used.
    let rsa = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKn4X6phTIuEzkxdSIBMyhwAl6zKkiVO\
        Of2E9wyVDmiAFQ6PsVT+zC3GyKK4cgnQQHC0pMgVGkRcQ7V0Jb4jVjUCAwEAAQ==";
    let rsa = format!("-----BEGIN PUBLIC KEY-----\n{rsa}\n-----END PUBLIC KEY-----\n");
    assert!(as_public(&rsa).contains("not used here"), "{}", as_public(&rsa));
}

#[test]
fn a_sealed_file_asks_for_no_more_than_is_sound() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let text = key.to_sealed_pem(b"x").unwrap();
    let json = String::from_utf8(pem::parse(&text).unwrap().contents().to_vec()).unwrap();
    let open = |json: &str| sealed::open(json.as_bytes(), b"x", "k").unwrap_err().to_string();
    for (from, to, says) in [
        ("\"N\":65536", "\"N\":1099511627776", "too much"),
        ("\"N\":65536", "\"N\":65535", "too much"),
        ("\"N\":65536", "\"N\":0", "too much"),
        ("\"r\":8", "\"r\":4096", "too much"),
        ("\"p\":1", "\"p\":1000", "too much"),
        ("scrypt", "none", "unknown kind"),
        ("nacl/secretbox", "aes", "unknown kind"),
        ("\"nonce\":\"", "\"nonce\":\"AAAA", "broken"),
        ("{\"kdf\"", "[\"kdf\"", "broken"),
    ] {
        let altered = json.replacen(from, to, 1);
        assert_ne!(altered, json, "{from}");
        assert!(open(&altered).contains(says), "{to}: {}", open(&altered));
    }
}
