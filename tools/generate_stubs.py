"""Generate the Python stubs in authsvc/v1 from the protos, or check that they are what the protos say.

The package of a proto is the import path of its stub: `protos/authsvc/v1/tokens.proto` becomes
`authsvc/v1/tokens_pb2.py`, typed by the `.pyi` beside it. A proto with a service gets a `_pb2_grpc` pair
on top.

Usage: python tools/generate_stubs.py [--check]
"""

import argparse
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def main() -> int:
    """Write the stubs and tell what changed; with --check write nothing and fail if anything would."""
    parser = argparse.ArgumentParser(description="Generate the stubs in authsvc/v1 from the protos.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a stub is out of date")
    check: bool = parser.parse_args().check

    with tempfile.TemporaryDirectory() as folder:
        wanted = generate(Path(folder))
    outdated = sorted(name for name, content in wanted.items() if _read(ROOT / name) != content)
    stale = sorted(existing_stubs() - wanted.keys())
    if check:
        for name in outdated + stale:
            print(f"{name} is not what the protos say: run 'make proto'", file=sys.stderr)
        return 1 if outdated or stale else 0

    for name in outdated:
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[name])
        print(f"wrote {name}")
    for name in stale:
        (ROOT / name).unlink()
        print(f"removed {name}")
    return 0


def generate(folder: Path) -> dict[str, bytes]:
    """Return the content of every stub by its path below the project's root, using `folder` for the work."""
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    descriptors = folder / "descriptors"
    stubs = folder / "stubs"
    stubs.mkdir()
    _protoc(
        f"--descriptor_set_out={descriptors}",
        f"--python_out={stubs}",
        f"--mypy_out=quiet:{stubs}",
        *names,
    )
    described = FileDescriptorSet.FromString(descriptors.read_bytes())
    with_service = sorted(proto.name for proto in described.file if proto.service)
    if with_service:
        # Typed for both kinds of channel: a stub made with a grpc.aio channel has awaitable methods.
        _protoc(f"--grpc_python_out={stubs}", f"--mypy_grpc_out=quiet:{stubs}", *with_service)
    return {str(path.relative_to(stubs)): path.read_bytes() for path in stubs.rglob("*.py*")}


def existing_stubs() -> set[str]:
    """Return the paths, below the project's root, of the generated files that are there now."""
    packages = {path.parent.relative_to(PROTOS) for path in PROTOS.rglob("*.proto")}
    return {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).glob("*_pb2*")
        if path.suffix in {".py", ".pyi"}
    }


def _protoc(*arguments: str) -> None:
    # protoc looks for a plugin on PATH, where the environment's scripts need not be.
    scripts = Path(sysconfig.get_path("scripts"))
    status: int = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            *arguments,
        ]
    )
    if status:
        sys.exit(status)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
