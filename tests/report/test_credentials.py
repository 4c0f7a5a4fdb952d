"""Content Credentials of synthetic pictures: signed offline, read back and verified by c2pa's reader."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from readers import shard_samples

from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, provenance
from augpipe.data.sources._pictures import read
from augpipe.report import credentials
from augpipe.report.balanced_set import Balanced, publish
from augpipe.report.credentials import Signing, signing_of
from augpipe.report.forms import Origin
from augpipe.report.generated import write_generated

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
DRAWN = ImageSet(
    np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8),
    np.array([0, 1, 1]),
    ("a", "b"),
    provenance(["g/0/0", "g/0/1", "g/0/2"], origin="synthetic"),
)


def certificate(name: str, key: Any, issuer: str, issuer_key: Any, days: int = 9) -> Any:
    """As C2PA asks of certificates (C2PA 2.2, section 14.5); one issued by itself may issue others."""
    is_issuer = name == issuer
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
    usage = {"content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"}
    usages = dict.fromkeys((*usage, "decipher_only"), False)
    until = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(until - timedelta(days=20))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(is_issuer, None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_issuer, key_cert_sign=is_issuer, crl_sign=is_issuer, **usages),
            critical=True,
        )
    )
    if not is_issuer:
        purposes = [x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signer's certificates and key, and others that cannot sign."""
    place = tmp_path_factory.mktemp("signer")
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = certificate("issuer", root, "issuer", root).public_bytes(PEM)
    for name, days in (("chain", 9), ("expired", -1)):
        own = certificate("signer", key, "issuer", root, days).public_bytes(PEM)
        (place / f"{name}.pem").write_bytes(own + issuer)
    (place / "issuer.pem").write_bytes(issuer)
    plain = serialization.NoEncryption()
    (place / "key.pem").write_bytes(key.private_bytes(PEM, PKCS8, plain))
    (place / "issuer-key.pem").write_bytes(root.private_bytes(PEM, PKCS8, plain))
    locked = serialization.BestAvailableEncryption(b"secret")
    (place / "locked.pem").write_bytes(key.private_bytes(PEM, PKCS8, locked))
    return place


def verified(data: bytes, files: Path) -> tuple[str, dict[str, Any]]:
    """What c2pa says of a PNG file whose issuer it trusts, and the action of the manifest."""
    trust = {"trust": {"trust_anchors": (files / "issuer.pem").read_text()}}
    reader = c2pa.Reader("image/png", io.BytesIO(data), context=c2pa.Context.from_dict(trust))
    about = json.loads(reader.json())
    (actions,) = about["manifests"][about["active_manifest"]]["assertions"]
    (action,) = actions["data"]["actions"]
    return reader.get_validation_state(), action


@pytest.mark.parametrize("form", ["folder", "webdataset"])
def test_signed_pictures_are_verified_and_have_their_pixels(form: str, files: Path, tmp_path: Path) -> None:
    out, origin = tmp_path / "out", Origin("cgan", "ab" * 32, 7)
    write_generated(DRAWN, origin, out, form, signing_of(files / "chain.pem", files / "key.pem", form))
    if form == "folder":
        pngs = [path.read_bytes() for path in sorted(out.glob("*/*.png"))]
    else:
        pngs = [sample["png"].fp.getvalue() for sample in shard_samples(out / "images-000000.tar")]
    for png, pixels in zip(pngs, DRAWN.images, strict=True):
        state, action = verified(png, files)
        assert state == "Trusted" and action["action"] == "c2pa.created"
        assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
        assert action["description"] == f"drawn by the generator cgan, checkpoint {'ab' * 32}"
        taken = read(png, ImageSpec(8, 3), "fit", None)
        assert np.array_equal(taken.image, pixels) and "made by a trained model" in taken.notes[0]
    changed = bytearray(pngs[0])
    changed[pngs[0].rindex(b"IDAT") + 8] ^= 1
    assert verified(bytes(changed), files)[0] == "Invalid"


def test_a_manifest_of_another_program_is_noticed(files: Path) -> None:
    """Without our text and XMP, in PNG and JPEG; and a photograph has none."""

    def notes(data: bytes) -> tuple[str, ...]:
        return read(data, ImageSpec(8, 3), "fit", None).notes

    png, jpeg = io.BytesIO(), io.BytesIO()
    for kind, stream in (("PNG", png), ("JPEG", jpeg)):
        Image.fromarray(DRAWN.images[0].transpose(1, 2, 0)).save(stream, kind)
        assert not notes(stream.getvalue())
    signed = credentials.signer(Signing(files / "chain.pem", files / "key.pem"))(png.getvalue(), "x")
    assert "made by a trained model" in notes(signed)[0]
    payload = b"JP" + signed  # with the manifest's words; its boxes are not read
    segment = b"\xff\xeb" + (len(payload) + 2).to_bytes(2, "big") + payload
    assert "made by a trained model" in notes(jpeg.getvalue()[:2] + segment + jpeg.getvalue()[2:])[0]


def test_of_a_balanced_set_only_synthetic_pictures_are_signed(
    balanced: Callable[..., Balanced], files: Path, tmp_path: Path
) -> None:
    publish(balanced(), tmp_path / "out", signing=signing_of(files / "chain.pem", files / "key.pem", "folder"))
    pngs = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*/*.png")}
    assert len(pngs) == 19
    assert {name for name, png in pngs.items() if b"caBX" in png} == {n for n in pngs if n.startswith("synthetic")}


@pytest.mark.parametrize(
    ("certificates", "key", "form", "message"),
    [
        ("chain.pem", None, "folder", "need each other"),
        ("chain.pem", "key.pem", "npz", "--format npz has none: choose folder, webdataset, hf"),
        ("none.pem", "key.pem", "hf", r"cannot read .*none\.pem: No such file"),
        ("key.pem", "key.pem", "hf", r"key\.pem holds no certificate in PEM form"),
        ("chain.pem", "chain.pem", "hf", r"chain\.pem holds no private key in PEM form"),
        ("chain.pem", "locked.pem", "hf", "without a passphrase"),
        ("chain.pem", "issuer-key.pem", "hf", "is not that of the first certificate"),
        ("expired.pem", "key.pem", "hf", r"is valid from \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, not today"),
        ("issuer.pem", "issuer-key.pem", "hf", r"issuer\.pem cannot sign: "),
    ],
)
def test_what_cannot_sign(certificates: str, key: str | None, form: str, message: str, files: Path) -> None:
    with pytest.raises(UserError, match=message):
        signing_of(files / certificates, None if key is None else files / key, form)


def test_a_missing_library_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(credentials.LIBRARIES, "no_such_module", "some-package")
    with pytest.raises(UserError, match=r"needs some-package: pip install 'augpipe\[c2pa\]'"):
        signing_of(files / "chain.pem", files / "key.pem", "folder")
