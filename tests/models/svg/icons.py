"""Small drawings of our own, with what real files have."""

FLAG = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="16" height="16">
  <title>Flag &amp; pole: déjà vu</title>
  <rect x="2" y="1" width="1.5" height="14" fill="#3a5fcd"/>
  <path d="M3.5 2h9l-2,2.5 2 2.5h-9z" style="fill:#ff0000;stroke:none"/>
</svg>
"""
ARCS = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
<g transform="translate(-1.5,2e0) scale(.5)" id='a"b'><path fill="teal" stroke="black" stroke-width="2"
 d="M10-10.5.5A25 25 0 011 40L3e1-5,1E-1 12.345678 1234567.890Z m 5,5 c 1 2,3 4 5,6 s1 1 2 2 q1 2 3 4t1 1 H 40 V-3 z"/></g>
<ellipse cx="32" cy="40" rx="20" ry="10" opacity="0.50"/></svg>"""
EDITOR = """<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
 <!ENTITY ns "http://www.inkscape.org/namespaces/inkscape">
]>
<svg:svg xmlns:svg="http://www.w3.org/2000/svg" xmlns:inkscape="&ns;" xmlns:own="urn:own" xml:space="preserve" width="20" height="20">
  <svg:style><![CDATA[ .a > .b { fill: #00ff00 } ]]></svg:style>
  <inkscape:grid own:what="tab&#9;line&#10;end" spacingx="1"></inkscape:grid>
  <svg:g inkscape:label="Ebene 1 — 日本"><svg:circle class="a" cx="10" cy="10" r="8.25"/>text	here </svg:g>
</svg:svg>"""
ICONS = {"flag": FLAG, "arcs": ARCS, "editor": EDITOR}
