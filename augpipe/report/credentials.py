"""Content Credentials (C2PA 2) of synthetic PNG files: a signed manifest says that a trained model made the picture.

Signing is offline, with the user's certificate and private key: no time stamp and no other address is asked for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from PIL import Image

from augpipe.core.errors import UserError, choices, one_line
from augpipe.core.marks import SOURCE_TYPE

PNG_FORMS: Final = ("folder", "webdataset", "hf")  # forms of a set whose images are PNG files
LIBRARIES: Final = {"c2pa": "c2pa-python", "cryptography": "cryptography"}
CURVES: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}  # C2PA 2.2, section 13.2

# PNG bytes, what the picture was drawn by → signed PNG bytes.
Sign = Callable[[bytes, str], bytes]


@dataclass(frozen=True)
class Signing:
    """Files of the signer. certificates: PEM, the signer's own first, then its issuers. key: its private key, PEM."""

    certificates: Path
    key: Path


def signing_of(certificates: Path | None, key: Path | None, form: str) -> Signing | None:
    """The files of the signer, or None if none are given.

    UserError if one is missing or cannot sign, if c2pa-python is not installed, or for a form without PNG files.
    """
    if certificates is None and key is None:
        return None
    if certificates is None or key is None:
        raise UserError("--c2pa-certificate and --c2pa-key need each other: the certificates and the signer's key")
    if form not in PNG_FORMS:
        raise UserError(f"--c2pa-certificate signs PNG files; --format {form} has none: choose {choices(PNG_FORMS)}")
    missing = [package for module, package in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"--c2pa-certificate needs {choices(missing)}: pip install 'augpipe[c2pa]'")
    signing = Signing(certificates.resolve(), key.resolve())
    _try(signing)
    return signing


def _try(signing: Signing) -> None:
    """UserError if the certificates and the key do not give a valid signature."""
    import c2pa

    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, format="PNG")
    try:
        signed = signer(signing)(stream.getvalue(), "a trial")
        reader = c2pa.Reader("image/png", io.BytesIO(signed))
        state, results = reader.get_validation_state(), reader.get_validation_results() or {}
    except c2pa.C2paError as error:
        raise UserError(f"{signing.certificates} cannot sign: {one_line(error)[:200]}") from None
    if state not in ("Valid", "Trusted"):
        failures = results.get("activeManifest", {}).get("failure", [])
        reasons = [entry.get("explanation", entry.get("code")) for entry in failures]
        raise UserError(f"{signing.certificates} cannot sign: {choices(reasons)[:200]}")


def signer(signing: Signing) -> Sign:
    """The function that signs pictures; UserError for files that are no certificates and key, or do not fit."""
    import c2pa

    certificates, key, algorithm = _credentials(signing)
    native = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, certificates, key, None))
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})

    def sign(png: bytes, drawn_by: str) -> bytes:
        signed = io.BytesIO()
        builder = c2pa.Builder.from_json(json.dumps(manifest(drawn_by)), context=context)
        builder.sign(native, "image/png", io.BytesIO(png), signed)
        return signed.getvalue()

    return sign


def manifest(drawn_by: str) -> dict[str, Any]:
    """The manifest's definition; drawn_by: generator and checkpoint, for readers."""
    tool = {"name": "augpipe", "version": version("augpipe")}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": tool,
        "description": drawn_by,
    }
    return {
        "claim_generator_info": [tool],
        "format": "image/png",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _credentials(signing: Signing) -> tuple[bytes, bytes, str]:
    """Certificates (PEM), key (PKCS 8, PEM) and C2PA's name of its algorithm."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

    data = _bytes(signing.certificates)
    try:
        first = x509.load_pem_x509_certificates(data)[0]
    except ValueError:
        raise UserError(f"{signing.certificates} holds no certificate in PEM form") from None
    try:
        key: Any = load_pem_private_key(_bytes(signing.key), None)
    except TypeError:
        raise UserError(f"{signing.key} is encrypted; C2PA signing needs a private key without a passphrase") from None
    except ValueError:
        raise UserError(f"{signing.key} holds no private key in PEM form") from None
    if key.public_key() != first.public_key():
        raise UserError(f"the key {signing.key} is not that of the first certificate in {signing.certificates}")
    if not first.not_valid_before_utc <= datetime.now(UTC) <= first.not_valid_after_utc:
        dates = f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"
        raise UserError(f"the certificate {signing.certificates} is valid from {dates}, not today")
    return data, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _algorithm(key, signing.key)


def _algorithm(key: Any, path: Path) -> str:
    """C2PA's name of the signature algorithm of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UserError(f"{path}: C2PA signs with EC (P-256, P-384, P-521), RSA or Ed25519 keys")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
