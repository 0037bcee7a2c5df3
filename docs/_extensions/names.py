"""Names of the package in prose become links to their place in the reference."""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from pretrain_eval import typing

# `pe.sweep`, `sweep(...)`, `Choice.report()`, `zoo.timm(name)`; no keyword, no path.
NAME = re.compile(
    r"(?:(?:pe|pretrain_eval)\.)?([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?", re.S
)

FILE = re.compile(r".*\.(?:py|db|md|html|csv|jsonl?|png|parquet)")


def candidates(text: str) -> Iterator[str]:
    """The full names that a literal may mean, the most exact first.

    An attribute is described with its class, and `choice.report` is one of a `Choice`.
    """
    match = NAME.fullmatch(text)
    if match is None or FILE.fullmatch(text):
        return
    name = match[1]
    yield name
    owner, dot, _ = name.rpartition(".")
    if dot:
        yield name[0].upper() + name[1:]
        yield owner
        yield owner[0].upper() + owner[1:]


class LinkNames(SphinxPostTransform):
    """Wraps each literal that names a described object into a link to it."""

    default_priority = 5  # before references are resolved and titles are copied

    def run(self, **kwargs: object) -> None:
        """Looks each literal up in what the reference describes."""
        described = self.env.domains.python_domain.objects
        for literal in list(self.document.findall(nodes.literal)):
            if _is_prose(literal):
                names = (f"pretrain_eval.{n}" for n in candidates(literal.astext()))
                if found := next(filter(described.__contains__, names), None):
                    entry = described[found]
                    link = make_refnode(
                        self.app.builder,
                        self.env.docname,
                        entry.docname,
                        entry.node_id,
                        literal.deepcopy(),
                        found,
                    )
                    literal.replace_self(link)


def type_link(
    app: Sphinx,
    env: BuildEnvironment,
    node: addnodes.pending_xref,
    content: nodes.TextElement,
) -> nodes.reference | None:
    """What an annotation names by a short or an inner name, where it is public.

    Types that only signatures name stand in one table.
    """
    target, name = node["reftarget"], node["reftarget"].rpartition(".")[2]
    if node["refdomain"] != "py" or target not in (name, f"{_module_of(name)}.{name}"):
        return None
    if found := env.domains.python_domain.objects.get(f"pretrain_eval.{name}"):
        page, place = found.docname, found.node_id
    elif name in typing.__all__:
        page, place = "reference/typing", ""
    else:
        return None
    return make_refnode(app.builder, node["refdoc"], page, place, content, name)


def _module_of(name: str) -> str:
    """Where a public type is written."""
    return getattr(getattr(typing, name, None), "__module__", "")


def _is_prose(literal: nodes.literal) -> bool:
    """Whether it stands in no link and no heading, where a link would be in the way."""
    parent: nodes.Node | None = literal.parent
    while parent is not None:
        if isinstance(parent, nodes.reference | nodes.title):
            return False
        parent = parent.parent
    return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this once."""
    app.add_post_transform(LinkNames)
    app.connect("missing-reference", type_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
