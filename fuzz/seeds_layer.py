#!/usr/bin/python3
"""Makes seeds/layer anew: pairs of small layers, each pair with one of the things that layers do."""

import io
import os
import tarfile

PLACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds", "layer")


def entry(name, kind=tarfile.REGTYPE, link="", data=b"", mode=0o755, **more):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), mode
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(entries, how=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=how) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    # Without the padding to 20 blocks: two end the archive.
    text = out.getvalue().rstrip(b"\0")
    return text + bytes(-len(text) % 512 + 1024)


def directory(name, **more):
    return entry(name, tarfile.DIRTYPE, **more)


def link(name, to):
    return entry(name, tarfile.SYMTYPE, to)


def hard(name, to):
    return entry(name, tarfile.LNKTYPE, to)


PAX = tarfile.PAX_FORMAT
CASES = {
    "files": ([directory("d"), entry("d/f", data=b"x" * 600), entry("g", uid=7, gid=8, mtime=5)], [entry("d/f", data=b"y")]),
    "links": ([link("l", "../../victim"), link("m", "/victim"), link("d", "..")], [entry("l", data=b"z"), entry("d/x"), entry("m")]),
    "hard": ([entry("f", data=b"1"), link("s", "f"), hard("h", "f"), hard("i", "s")], [hard("j", "./h"), entry("f"), hard("k", "../victim")]),
    "whiteouts": ([directory("d"), entry("d/a"), directory("d/e"), entry("d/e/b"), link("l", "d")],
                  [entry("d/.wh.a"), entry(".wh.l"), entry("d/e/.wh..wh..opq"), entry("l/.wh.e"), entry("d/e/c")]),
    "swapped": ([directory("d"), directory("d/e"), entry("d/e/f")], [link("d", "/"), entry("d/e/f"), directory("d"), entry("d/.wh.e")]),
    "devices": ([entry("c", tarfile.CHRTYPE, devmajor=1, devminor=3), entry("p", tarfile.FIFOTYPE)], [entry("c", data=b"n"), hard("q", "p")]),
    "dots": ([entry("./a"), directory("b/.//c/")], [entry("../x"), entry("/abs"), entry("b/../y")]),
}
PAX_CASES = {
    "pax": {"path": "n" * 120 + "/\u00e9", "mtime": "-1.5", "uid": "3000000000", "SCHILY.xattr.user.a": "b",
            "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.capability": "\x01"},
    "sparse": {"GNU.sparse.map": "0,2,100,2", "GNU.sparse.size": "1000", "GNU.sparse.name": "holes"},
    "sparse-1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "900", "GNU.sparse.name": "h"},
}


def main():
    os.makedirs(PLACE, exist_ok=True)
    for name in os.listdir(PLACE):
        os.remove(os.path.join(PLACE, name))
    made = {name: (tar(lower), tar(upper)) for name, (lower, upper) in CASES.items()}
    for name, headers in PAX_CASES.items():
        data = b"1\n0\n4\n".ljust(512, b"\0") + b"data" if name == "sparse-1.0" else b"data"
        made[name] = (tar([entry("x", data=data, pax_headers=headers)], PAX), tar([entry("x" * 150, data=b"long")]))
    for number, (name, (lower, upper)) in enumerate(sorted(made.items())):
        with open(os.path.join(PLACE, name), "wb") as file:
            file.write(bytes([number % 2, len(lower) // 512]) + lower + upper)


main()
