//! A certificate authority that lives as long as a test, and certificates from it for members (127.0.0.1 and
//! localhost) and clients, as PEM files in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use etcd_antithesis::lab::processes::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// A certificate and its key.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An authority whose certificate is `ca.crt` in its folder.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority, which signs into `folder`.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.crt"), issuer.pem()).unwrap();
        Self { folder: folder.to_owned(), issuer }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate with this common name (the user, where etcd authenticates by certificate), good for
    /// servers on loopback and for clients.
    pub fn sign(&self, common_name: &str) -> Identity {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let signed = parameters.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: self.folder.join(format!("{common_name}.crt")),
            key: self.folder.join(format!("{common_name}.key")),
        };
        fs::write(&identity.certificate, signed.pem()).unwrap();
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// What members need to serve TLS with a certificate of this authority.
    pub fn for_members(&self, requires_certificate: bool) -> TlsFiles {
        let Identity { certificate, key } = self.sign("member");
        TlsFiles { ca: self.certificate(), certificate, key, requires_certificate }
    }
}
