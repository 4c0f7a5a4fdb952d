"""Check the locked dependencies against the advisory database: `make audit`.

python tests/audit.py PIP_AUDIT LOCK. Exit status 1 where a dependency has a known fault. Where the database is not
reachable it says that nothing was checked, and ends with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> int:
    """See the module's head."""
    program, lock = sys.argv[1:]
    try:
        done = subprocess.run(
            [program, "--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r", lock],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        found = json.loads(done.stdout)["dependencies"]
    except OSError:
        print("pip-audit could not be installed: no dependency was checked")
        return 0
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("the advisory database is not reachable: no dependency was checked")
        return 0
    checked = [one for one in found if "skip_reason" not in one]
    if not checked:
        print(f"the advisory database knows none of {len(found)} dependencies here: none was checked")
        return 0
    bad = [(one, fault) for one in checked for fault in one["vulns"]]
    for one, fault in bad:
        fixed = ", ".join(fault["fix_versions"]) or "no version"
        print(f"{one['name']} {one['version']}: {fault['id']}, mended in {fixed}")
    print(f"{len(checked)} of {len(found)} dependencies checked, {len(bad)} known faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
