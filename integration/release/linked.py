#!/usr/bin/env python3
"""What a program is made of, from cargo tree and cargo metadata: `linked.py sbom|licences CRATE TARGET [FILE…]`, on
standard output.

`sbom` is CycloneDX 1.5; `licences` are the texts that come with each crate that is linked, each text once, then the FILEs.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time

NAMES = re.compile(r"^(licen[cs]e|copying|notice|unlicense|copyright)([-._].*)?$", re.IGNORECASE)


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked", "--offline"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked(name, target):
    """The packages that are linked into the crate `name`, itself first, and what each needs.

    `cargo tree` knows which features this one crate asks for; metadata only knows those of all together.
    """
    about = {(p["name"], p["version"]): p for p in json.loads(cargo("metadata", "--format-version", "1"))["packages"]}
    edges = ["--edges", "normal,no-proc-macro", "--target", target, "--no-dedupe", "--prefix", "depth"]
    needs, above = {}, []
    for line in cargo("tree", "--package", name, *edges, "--format", " {p}").splitlines():
        depth, crate, version = line.split()[:3]
        key = (crate, version.removeprefix("v"))
        needs.setdefault(key, set())
        above = [*above[: int(depth)], key]
        if len(above) > 1:
            needs[above[-2]].add(key)
    order = sorted(needs, key=lambda key: (key[0] != name, key))
    return [about[key] for key in order], {purl(about[key]): [purl(about[n]) for n in sorted(needs[key])] for key in order}


def checksums():
    """Of each crate in Cargo.lock, as crates.io has it."""
    text = open("Cargo.lock").read()
    found = re.findall(r'name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"', text)
    return {(name, version): checksum for name, version, checksum in found}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums, kind):
    entry = {
        "type": kind,
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def sbom(packages, needs, target):
    sums = checksums()
    when = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "component": component(packages[0], sums, "application"),
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [component(package, sums, "library") for package in packages[1:]],
        "dependencies": [
            {"ref": purl(package), "dependsOn": needs[purl(package)]} for package in packages
        ],
    }


def texts(package):
    directory = os.path.dirname(package["manifest_path"])
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if NAMES.match(name) and os.path.isfile(path):
            yield name, open(path, encoding="utf-8", errors="replace").read().strip()


def licences(packages, files):
    """A list of the crates, then each text with the crates that have it."""
    lines = ["The program contains these crates of others:", ""]
    having, content = {}, {}
    for package in packages[1:]:
        if package["source"] is None:
            continue  # one of ours
        lines.append(f"{package['name']} {package['version']}: {package['license']}")
        for name, text in texts(package):
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            content.setdefault(key, text)
            having.setdefault(key, []).append(f"{package['name']} ({name})")
    lines += ["", "and the standard library of Rust and the C library musl."]
    for file in files:
        having[file] = [file]
        content[file] = open(file, encoding="utf-8", errors="replace").read().strip()
    for key, crates in having.items():
        lines += ["", "=" * 78, *crates, "=" * 78, "", content[key]]
    return "\n".join(lines)


def main():
    what, name, target, *files = sys.argv[1:]
    packages, needs = linked(name, target)
    if what == "sbom":
        print(json.dumps(sbom(packages, needs, target), indent=2))
    else:
        print(licences(packages, files))


main()
