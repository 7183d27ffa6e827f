"""What tests/release reads out of cargo's and rustdoc's JSON."""

import json
import sys


def version(text):
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


def msrv():
    """Refuses a dependency of users that asks for a newer compiler than we promise."""
    metadata = json.load(sys.stdin)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    root = metadata["resolve"]["root"]
    promised = packages[root]["rust_version"]
    reached, todo = set(), [root]
    while todo:
        here = todo.pop()
        if here in reached:
            continue
        reached.add(here)
        for dependency in nodes[here]["deps"]:
            if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    bad = [
        f'{package["name"]} {package["version"]} asks for {package["rust_version"]}'
        for package in map(packages.get, sorted(reached))
        if package["rust_version"] and version(package["rust_version"]) > version(promised)
    ]
    print(f"{len(reached)} packages, Rust {promised} promised")
    return bad


def dependencies(path, *allowed):
    """Refuses a crate that the public API names and that is not on the list."""
    with open(path, encoding="utf-8") as file:
        docs = json.load(file)
    crates = {int(number): crate["name"] for number, crate in docs["external_crates"].items()}
    named = {}

    def look(value, where):
        """Each named type is an object with the id of its path."""
        if isinstance(value, dict):
            if "id" in value and "path" in value:
                summary = docs["paths"].get(str(value["id"]))
                if summary and summary["crate_id"]:
                    named.setdefault(crates[summary["crate_id"]], set()).add(where)
            for inner in value.values():
                look(inner, where)
        elif isinstance(value, list):
            for inner in value:
                look(inner, where)

    for item in docs["index"].values():
        inner = item["inner"]
        implementation = inner.get("impl")
        if implementation and (implementation["is_synthetic"] or implementation["blanket_impl"]):
            continue
        if item["crate_id"] == 0:
            look(inner, item["name"] or "an impl")
    used = sorted(name for name in named if name not in ("core", "alloc", "std"))
    print("the public API names:", *used)
    unused = sorted(set(allowed) - set(used))
    bad = [
        f"{name} is named by: {', '.join(sorted(named[name])[:8])}"
        for name in used
        if name not in allowed
    ]
    return bad + [f"{name} is on the list, and named by nothing" for name in unused]


def main():
    faults = {"msrv": msrv, "dependencies": dependencies}[sys.argv[1]](*sys.argv[2:])
    print(*faults, sep="\n", end="\n" if faults else "")
    sys.exit(1 if faults else 0)


main()
