"""Checks licences, sources and banned crates of all dependencies against deny.toml.

For machines without cargo-deny; what is checked here means the same there. Advisories are not
checked: they need a database from the network.
"""

import json
import re
import subprocess
import sys
import tomllib


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences only."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def either() -> bool:
        nonlocal place
        met = both()
        while place < len(tokens) and tokens[place] == "OR":
            place += 1
            # Read it in any case: `or` would stop at the first that is met.
            met = both() | met
        return met

    def both() -> bool:
        nonlocal place
        met = one()
        while place < len(tokens) and tokens[place] == "AND":
            place += 1
            met = one() & met
        return met

    def one() -> bool:
        nonlocal place
        if tokens[place] == "(":
            place += 1
            met = either()
            place += 1
            return met
        name = tokens[place]
        place += 1
        if place < len(tokens) and tokens[place] == "WITH":
            name = f"{name} WITH {tokens[place + 1]}"
            place += 2
        return name in allow

    return either()


def main() -> int:
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allow = set(rules["licenses"]["allow"])
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    targets = [part for name in rules["graph"]["targets"] for part in ("--filter-platform", name)]
    read = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version=1", "--all-features", *targets],
        check=True,
        stdout=subprocess.PIPE,
    )
    metadata = json.loads(read.stdout)
    used = {node["id"] for node in metadata["resolve"]["nodes"]}
    ours = set(metadata["workspace_members"])
    wrong = []
    packages = [p for p in metadata["packages"] if p["id"] in used and p["id"] not in ours]
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if licence is None or not allowed(licence, allow):
            wrong.append(f"{name}: the licence {licence!r} is not allowed")
        if not (package["source"] or "").startswith("registry+"):
            wrong.append(f"{name}: it comes from {package['source']!r}, not from the registry")
        if package["name"] in banned:
            wrong.append(f"{name}: it is banned")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"checked {len(packages)} dependencies with scripts/licences.py: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
