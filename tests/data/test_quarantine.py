from __future__ import annotations

from augpipe.data.quarantine import quarantine, reasons
from augpipe.data.sources._listing import Bad


def test_reasons_are_counted_by_kind() -> None:
    bad = [Bad("a", "row 3: no label"), Bad("b", "row 9: no label"), Bad("c", "values from 1 to 5")]
    assert reasons(bad) == "no label (2), values from … to … (1)"
    deep = [Bad("a", "values from -1.5e+03 to 7 (>u2), of more")]
    assert reasons(deep) == "values from … to … (>u2), of more (1)"
    many = [Bad(str(i), f"reason {chr(97 + i)}") for i in range(5)]
    assert reasons(many).endswith("and others") and not reasons(many, most=None).endswith("others")


def test_the_quarantine_table() -> None:
    table = quarantine((Bad("x.png", "truncated", "cat"),), {"y.png": ("dog", "equal to z.png in test")})
    assert table.to_dict("records") == [
        {"id": "x.png", "class": "cat", "what": "quarantined", "reason": "truncated"},
        {"id": "y.png", "class": "dog", "what": "removed", "reason": "equal to z.png in test"},
    ]
    assert list(quarantine((), {}).columns) == ["id", "class", "what", "reason"]
