//! HTTPS exchanges with a server whose certificate the tests' own authority has signed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::exchange::{Answer, Ask, parse, request_bytes};

/// A file of `tests/fixtures/tls`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// Sends a request over TLS, with or without the tests' client certificate.
pub fn exchange_tls(address: &str, ask: &Ask, with_certificate: bool) -> Result<Answer, String> {
    let describe = |error: std::io::Error| format!("{address}: {error}");
    let config = client_config(with_certificate);
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).map_err(describe)?;
    socket.set_read_timeout(Some(Duration::from_secs(30))).map_err(describe)?;
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(&request_bytes("localhost", ask)).map_err(describe)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Without a closing alert, what came before counts all the same.
        Err(error) if answer.is_empty() => Err(describe(error)),
        _ => parse(&answer, &ask.method).ok_or_else(|| format!("{address}: {}", String::from_utf8_lossy(&answer))),
    }
}

fn client_config(with_certificate: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    if !with_certificate {
        return builder.with_no_client_auth();
    }
    let chain = vec![CertificateDer::from_pem_file(fixture("client.pem")).unwrap()];
    builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(fixture("client.key")).unwrap()).unwrap()
}
