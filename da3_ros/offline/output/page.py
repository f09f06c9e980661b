# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What all pages share: their look, and the parts that they are made of. Nothing is loaded."""

import base64
from collections.abc import Mapping
import html
from string import Template

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2933; background: #f5f7fa; margin: 0; }
main { max-width: 1280px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { max-width: 46rem; }
.note { padding: .6rem .9rem; border-radius: 6px; background: #e3e8ee; }
.bad { background: #c92a2a; color: white; font-weight: 600; }
.caveat { background: #ffe3e3; }
.losses { background: #fff3bf; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; }
.card { background: white; border-radius: 8px; padding: .8rem 1rem; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.45rem; }
.card span { color: #52606d; font-size: .85rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr));
  gap: .8rem; }
img, svg { width: 100%; border-radius: 8px; background: white; }
table { border-collapse: collapse; background: white; border-radius: 8px; width: 100%; }
td, th { padding: .3rem .8rem; border-bottom: 1px solid #eef1f4; font-size: .9rem;
  text-align: left; vertical-align: top; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.facts td:first-child { color: #52606d; width: 45%; }
.number { text-align: right; }
.failed { background: #ffe3e3; }
.partly { background: #fff3bf; }
</style>
</head>
<body><main>
<h1>$title</h1>
$body
</main></body></html>
""")


def to_page(title: str, body: str) -> str:
    """
    Make a page.

    :param title: as text.
    :param body: as HTML.
    """
    return _PAGE.substitute(title=html.escape(title), body=body)


def to_cards(values: Mapping[str, str]) -> str:
    """
    Show a few values at a glance.

    :param values: by their names.
    """
    return '<div class="cards">' + ''.join(
        f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for name, value in values.items()) + '</div>'


def to_table(name: str, values: Mapping[str, object]) -> str:
    """
    Show many values below a heading.

    :param name: of all, for the heading.
    :param values: by their names.
    """
    rows = ''.join(
        f'<tr><td>{html.escape(key)}</td><td>{html.escape(_text(value))}</td></tr>'
        for key, value in values.items())
    heading = html.escape(name[:1].upper() + name[1:])
    return f'<h2>{heading}</h2><table class="facts">{rows}</table>'


def to_picture(data: bytes, kind: str, text: str) -> str:
    """
    Take a picture into the page.

    :param data: of its file.
    :param kind: ``png`` or ``jpeg``.
    :param text: for who cannot see it.
    """
    content = base64.b64encode(data).decode('ascii')
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{content}">'


def _text(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
