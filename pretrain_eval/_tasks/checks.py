"""What names and counts must be."""


def check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{what} expects a name, got {name!r}")


def check_count(what: str, count: object, least: int) -> None:
    if type(count) is not int or count < least:
        raise ValueError(f"{what} must be an int of at least {least}, got {count!r}")
