"""What a reader noticed without refusing the dataset: read another way, left out aloud, or worth a look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Notes:
    """Places by kind, in the order found. A kind is a phrase for one or many: "images without a label file"."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, where: str) -> None:
        """One more of `kind`; `where` is the file and its line, an image, or an annotation id."""
        self.places.setdefault(kind, []).append(where)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        """(kind, how many, the first place) of each kind."""
        for kind, places in self.places.items():
            yield kind, len(places), places[0]
