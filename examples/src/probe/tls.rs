//! TLS for the HTTP probe.

use std::{
    cmp::Ordering,
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipvs_netlink::pool::{FailureKind, Outcome};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};
use serde::{Deserialize, Deserializer, de};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::password::Password;

/// The certificates that a Debian system trusts.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The label of an encrypted key in PKCS #8.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The mark of a key that is encrypted in the format before PKCS #8 (RFC 1421 section 4.6.1.1).
const TRADITIONAL: &str = "Proc-Type: 4,ENCRYPTED";

/// The settings of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The name of the server: sent as server name indication, and verified. `None`: no name is
    /// sent, and the address is verified.
    pub name: Option<String>,
    /// Whether the certificate of the server is verified. Default: no, because a check by address
    /// seldom has the right name, and a server with an expired certificate still serves.
    pub verify: bool,
    /// The file of certificates (PEM) that `verify` trusts.
    /// Default: `/etc/ssl/certs/ca-certificates.crt`.
    pub ca: Option<PathBuf>,
    /// The file with the certificate of this client (PEM), with `key`.
    pub certificate: Option<PathBuf>,
    /// The file with the key of this client (PEM), with `certificate`.
    pub key: Option<PathBuf>,
    /// The password of an encrypted key (PKCS #8, RFC 5958).
    pub password: Option<Password>,
}

/// TLS that is ready to use. The files are read once; two values are equal if their settings and
/// files are.
///
/// TLS 1.2 and 1.3 are supported. A server that only has older versions fails, and the reason says
/// so.
#[derive(Clone)]
pub struct Tls {
    settings: Arc<TlsSettings>,
    /// The contents of the files, with which a reload notices a changed file.
    files: Arc<Vec<Vec<u8>>>,
    name: Option<ServerName<'static>>,
    client: Arc<ClientConfig>,
}

/// The settings of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A file has no such object.
    #[error("{}: no usable {object} in PEM: {error}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// A certificate or key.
        object: &'static str,
        /// The error.
        error: pem::Error,
    },
    /// The name cannot be that of a server.
    #[error("name {0:?}: use a DNS name or an IP address")]
    Name(String),
    /// The key is encrypted in the format that OpenSSL had before PKCS #8.
    #[error(
        "{}: encrypted in the traditional form: convert it with openssl pkcs8 -topk8 -in {} -out NEW",
        .0.display(),
        .0.display()
    )]
    TraditionalEncryption(PathBuf),
    /// The key is encrypted, and there is no password.
    #[error("{}: encrypted: name its password", .0.display())]
    NoPassword(PathBuf),
    /// The key cannot be decrypted.
    #[error("{}: the password does not decrypt it: {reason}", .path.display())]
    Decryption {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Only one of `certificate` and `key` is given.
    #[error("certificate and key: use both or none of them")]
    HalfAPair,
    /// A certificate or key was refused.
    #[error("{}: {reason}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The library refused the settings.
    #[error("TLS: {0}")]
    Library(String),
}

impl Tls {
    /// Reads the files, and prepares the client.
    ///
    /// # Errors
    ///
    /// A [`TlsError`] that names the wrong setting or file.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let mut files = Vec::new();
        let provider = Arc::new(ring::default_provider());
        let name = settings.name.as_ref().map(|name| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| TlsError::Name(name.clone()))
        });
        let verifier = verifier(&settings, &provider, &mut files)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Library(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut client = match (&settings.certificate, &settings.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, &mut files)?;
                let pem = read(key, &mut files)?;
                let parsed = private_key(key, &pem, settings.password.as_ref())?;
                builder
                    .with_client_auth_cert(chain, parsed)
                    .map_err(|error| TlsError::Refused {
                        path: key.clone(),
                        reason: error.to_string(),
                    })?
            }
            _ => return Err(TlsError::HalfAPair),
        };
        client.enable_sni = settings.name.is_some();
        // A check that resumed a session would prove less than the first one.
        client.resumption = Resumption::disabled();
        Ok(Self {
            settings: Arc::new(settings),
            files: Arc::new(files),
            name: name.transpose()?,
            client: Arc::new(client),
        })
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        target: IpAddr,
    ) -> Result<TlsStream<TcpStream>, Outcome> {
        let name = self
            .name
            .clone()
            .unwrap_or(ServerName::IpAddress(target.into()));
        let connector = TlsConnector::from(Arc::clone(&self.client));
        connector.connect(name, stream).await.map_err(|error| {
            let inner = error.get_ref();
            let kind = if inner
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some()
            {
                FailureKind::Tls
            } else {
                FailureKind::Closed
            };
            Outcome::failure(kind, error.to_string())
        })
    }

    fn content(&self) -> (&TlsSettings, &[Vec<u8>]) {
        (&self.settings, &self.files)
    }
}

/// Verifies servers as configured.
fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
    files: &mut Vec<Vec<u8>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if !settings.verify {
        return Ok(Arc::new(AnyCertificate(Arc::clone(provider))));
    }
    let path = settings.ca.as_deref().unwrap_or(Path::new(SYSTEM));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(path, files)?);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| TlsError::Refused {
                path: path.into(),
                reason: error.to_string(),
            })?;
    Ok(verifier)
}

fn read(path: &Path, files: &mut Vec<Vec<u8>>) -> Result<Vec<u8>, TlsError> {
    let pem = fs::read(path).map_err(|error| TlsError::File {
        path: path.into(),
        error,
    })?;
    files.push(pem.clone());
    Ok(pem)
}

fn certificates(
    path: &Path,
    files: &mut Vec<Vec<u8>>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path, files)?;
    let wrong = |error| TlsError::Pem {
        path: path.into(),
        object: "certificate",
        error,
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(wrong)?;
    if all.is_empty() {
        return Err(wrong(pem::Error::NoItemsFound));
    }
    Ok(all)
}

/// The key in a file, decrypted if it is encrypted.
fn private_key(
    path: &Path,
    pem: &[u8],
    password: Option<&Password>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(TRADITIONAL) {
        return Err(TlsError::TraditionalEncryption(path.into()));
    }
    let Some(block) = block(&text, ENCRYPTED) else {
        return PrivateKeyDer::from_pem_slice(pem).map_err(|error| TlsError::Pem {
            path: path.into(),
            object: "key",
            error,
        });
    };
    let password = password.ok_or_else(|| TlsError::NoPassword(path.into()))?;
    let wrong = |error: &dyn fmt::Display| TlsError::Decryption {
        path: path.into(),
        reason: error.to_string(),
    };
    let (_, document) = SecretDocument::from_pem(block).map_err(|error| wrong(&error))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
    let decrypted = encrypted
        .map_err(|error| wrong(&error))?
        .decrypt(password.as_str())
        .map_err(|error| wrong(&error))?;
    let key = PrivatePkcs8KeyDer::from(decrypted.as_bytes().to_vec());
    Ok(key.into())
}

/// The block of a PEM file with this label.
fn block<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let start = text.find(&format!("-----BEGIN {label}-----"))?;
    let end = format!("-----END {label}-----");
    let length = text.get(start..)?.find(&end)? + end.len();
    text.get(start..start + length)
}

/// Accepts any certificate, and any signature by it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.settings).finish()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
    }
}

impl Eq for Tls {}

impl PartialOrd for Tls {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tls {
    fn cmp(&self, other: &Self) -> Ordering {
        self.content().cmp(&other.content())
    }
}

/// `true`, `false`, or a table of [`TlsSettings`].
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "true, false, or a table with name, verify, ca, certificate, key, password"
)]
enum Form {
    Switch(bool),
    Settings(TlsSettings),
}

/// Reads `tls` of an HTTP probe.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Tls>, D::Error> {
    let settings = match Form::deserialize(deserializer)? {
        Form::Switch(false) => return Ok(None),
        Form::Switch(true) => TlsSettings::default(),
        Form::Settings(settings) => settings,
    };
    Tls::new(settings).map(Some).map_err(de::Error::custom)
}
