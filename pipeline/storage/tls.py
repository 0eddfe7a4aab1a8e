"""Faults of encrypted connections: a line that is cut or flips a bit, a server that speaks otherwise, a certificate."""

import ssl

# What OpenSSL calls a connection that ended or was garbled, by this side or, in an alert, by the other.
_LINE_REASONS = frozenset(
    {
        "BAD_RECORD_MAC",
        "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
        "SSLV3_ALERT_BAD_RECORD_MAC",
        "TLSV1_ALERT_DECRYPT_ERROR",
        "UNEXPECTED_EOF_WHILE_READING",
    }
)


def is_tls(error: BaseException) -> bool:
    """Whether TLS itself failed; a certificate that is refused is no such fault."""
    return isinstance(error, ssl.SSLError) and not is_refused_certificate(error)


def is_bad_line(error: BaseException) -> bool:
    """Whether the connection was cut or garbled on its way, rather than refused by a server that speaks otherwise."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return True
    return isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _LINE_REASONS


def is_refused_certificate(error: BaseException) -> bool:
    """Whether the server's certificate is not to be trusted: the same tomorrow, and nobody to talk to until it is mended."""
    return isinstance(error, ssl.SSLCertVerificationError)
