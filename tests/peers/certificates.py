"""Keys and certificates for devices: what a device makes itself, and what an attacker would like to have.

certificates.py request NAME FOLDER            a key and the request for its certificate
certificates.py forge KIND NAME CA_KEY CA_CERT FOLDER
    KIND: foreign (of another authority), imitated (of one with the name of ours), expired (long ago), server (for servers), unnamed (without the name)
certificates.py server FOLDER                  an authority (ca.pem) of its own, the server gateway.example.org and the client desk-7
"""

import datetime
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def new_key(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}.key").write_bytes(text)
    return key


def subject(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def request(name, folder):
    key = new_key(folder, name)
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject(name)).sign(key, hashes.SHA256())
    (folder / f"{name}.csr").write_bytes(csr.public_bytes(serialization.Encoding.PEM))


def forge(kind, name, ca_key, ca_certificate, folder):
    authority = x509.load_pem_x509_certificate(pathlib.Path(ca_certificate).read_bytes())
    if kind in ("foreign", "imitated"):
        signer = ec.generate_private_key(ec.SECP256R1())
    else:
        signer = serialization.load_pem_private_key(pathlib.Path(ca_key).read_bytes(), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    days = datetime.timedelta(days=1)
    begin, end = (now - 400 * days, now - 390 * days) if kind == "expired" else (now - days, now + days)
    use = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    key = new_key(folder, kind)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject("Other") if kind == "foreign" else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if kind != "unnamed":
        uri = x509.UniformResourceIdentifier(f"urn:lazaret:device:{name}")
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    (folder / f"{kind}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def server(folder):
    now = datetime.datetime.now(datetime.timezone.utc)
    days = datetime.timedelta(days=1)
    signer = new_key(folder, "other-ca")

    def issue(name, file, key, add):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(name))
            .issuer_name(subject("Other"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - days)
            .not_valid_after(now + days)
        )
        certificate = add(builder).sign(signer, hashes.SHA256())
        (folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    issue("Other", "ca.pem", signer, lambda one: one.add_extension(x509.BasicConstraints(True, 0), critical=True))
    names = x509.SubjectAlternativeName([x509.DNSName("gateway.example.org")])
    issue("gateway", "server.pem", new_key(folder, "server"), lambda one: one.add_extension(names, critical=False))
    device = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:lazaret:device:desk-7")])
    issue("desk-7", "desk-7.pem", new_key(folder, "desk-7"), lambda one: one.add_extension(device, critical=False))


def main():
    what, *rest = sys.argv[1:]
    folder = pathlib.Path(rest.pop())
    {"request": request, "forge": forge, "server": server}[what](*rest, folder)


main()
