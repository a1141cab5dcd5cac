"""Makes key and certificate files that say in their subject that they are the sandbox's."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

ORGANIZATION = "meterpay sandbox"  # in every certificate's subject and issuer; a production setting refuses it

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that nobody but its owner may read, from its first byte on."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)


def rsa_key(path: Path) -> rsa.RSAPrivateKey:
    """The private key in `path` (PKCS#8 PEM), made when missing; its public half lies beside it as `.pub.pem`."""
    if not path.exists():
        write_secret(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    public_path(path).write_bytes(public_pem(key))
    return key


def public_path(private_path: Path) -> Path:
    """Where `rsa_key` leaves the public half."""
    return private_path.with_suffix(".pub.pem")


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """SubjectPublicKeyInfo in PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate(path: Path, *, name: str, key: PrivateKey, days: int, issuer: str, signer: PrivateKey) -> None:
    """Writes a certificate of `key` (PEM) when missing, in its dates from an hour ago on."""
    if path.exists():
        return
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder(
        subject_name=_name(name),
        issuer_name=_name(issuer),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=days),
    )
    made = builder.sign(signer, SHA256())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def load(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def serial_of(path: Path) -> str:
    """Upper-case hexadecimal without leading zeros, as WeChat writes serials."""
    return f"{load(path).serial_number:X}"


def alipay_sn(cert: x509.Certificate) -> str:
    """Alipay's `cert_sn`: MD5 of the issuer's name, most specific part first, and the serial in decimal."""
    return hashlib.md5(  # noqa: S324 - Alipay names certificates by it; nothing is trusted for it
        (cert.issuer.rfc4514_string() + str(cert.serial_number)).encode()
    ).hexdigest()


def alipay_root_sn(path: Path) -> str:
    """Alipay's `alipay_root_cert_sn`: the names of the RSA certificates of the file, joined by `_`."""
    found = x509.load_pem_x509_certificates(path.read_bytes())
    return "_".join(alipay_sn(c) for c in found if isinstance(c.public_key(), rsa.RSAPublicKey))


def root_file(path: Path, *, key: rsa.RSAPrivateKey) -> None:
    """Alipay's root file holds several roots, not all of them RSA; whoever hashes them all gets a wrong name."""
    if path.exists():
        return
    elliptic = ec.generate_private_key(ec.SECP256R1())
    parts = []
    for name, signer in (("Sandbox RSA root", key), ("Sandbox EC root", elliptic)):
        part = path.with_suffix(".part")
        certificate(part, name=name, key=signer, days=7300, issuer=name, signer=signer)
        parts.append(part.read_bytes().strip())
        part.unlink()
    path.write_bytes(b"\n\n".join(parts) + b"\n")


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str) -> x509.Name:
    parts = (
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, ORGANIZATION),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "sandbox"),
        (NameOID.COMMON_NAME, common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
