"""Read what a certificate says of its owner."""

from __future__ import annotations

from cryptography import x509


def server_name_of(pem: bytes) -> str:
    """Return a name that the first certificate of `pem` is valid for: a DNS name if it has one, else an IP address.

    Raises:
        ValueError: `pem` holds no certificate, or its first one names no server.
    """
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate has no subject alternative name") from error
    for name in names.get_values_for_type(x509.DNSName):
        # A wildcard stands for one label, whichever.
        return name.replace("*", "any", 1)
    for address in names.get_values_for_type(x509.IPAddress):
        return str(address)
    raise ValueError("the certificate names no server")
