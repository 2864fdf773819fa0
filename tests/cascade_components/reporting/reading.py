"""Reads pages back."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Page(HTMLParser):
    """The elements of a page, and the data that it carries."""

    text: str
    elements: list = field(default_factory=list)
    data: dict = field(default_factory=dict)
    shown: dict = field(default_factory=dict)
    """The first text of each `data-show`."""

    def __post_init__(self):
        super().__init__()
        self._inside = None
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = dict(attrs)

    def handle_data(self, data):
        inside, self._inside = self._inside or {}, None
        if inside.get("id") == "report-data":
            self.data = json.loads(data)
        if "data-show" in inside:
            self.shown.setdefault(inside["data-show"], data)

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]
