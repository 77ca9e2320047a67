"""Elements, attributes and path commands of SVG, and what they mean."""

import re

ELEMENTS = tuple(
    """
    svg g defs symbol use switch title desc metadata style script a view image text tspan tref textPath path rect
    circle ellipse line polyline polygon linearGradient radialGradient stop pattern clipPath mask marker filter
    feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap
    feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feImage feMerge feMergeNode
    feMorphology feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence animate animateMotion
    animateTransform set mpath foreignObject font font-face glyph missing-glyph hkern cursor color-profile
    sodipodi:namedview inkscape:grid inkscape:path-effect inkscape:perspective sodipodi:guide inkscape:page rdf:RDF
    rdf:Bag rdf:li cc:Work cc:Agent cc:License cc:license cc:permits cc:prohibits cc:requires dc:format dc:type
    dc:title dc:creator dc:date dc:description dc:publisher dc:rights dc:subject dc:language
    """.split()  # noqa: SIM905 (a list of quoted words would be twice as long)
)

ATTRIBUTES = tuple(
    """
    d id class style transform x y width height cx cy r rx ry x1 y1 x2 y2 points fx fy fr dx dy fill fill-opacity
    fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit stroke-dasharray
    stroke-dashoffset opacity color display visibility overflow clip clip-path clip-rule mask filter
    enable-background paint-order vector-effect shape-rendering color-interpolation color-interpolation-filters
    color-rendering image-rendering text-rendering mix-blend-mode isolation marker marker-start marker-mid
    marker-end offset stop-color stop-opacity gradientUnits gradientTransform spreadMethod patternUnits
    patternContentUnits patternTransform clipPathUnits maskUnits maskContentUnits markerUnits markerWidth
    markerHeight refX refY orient font-family font-size font-style font-weight font-variant font-stretch text-anchor
    text-align line-height letter-spacing word-spacing writing-mode text-decoration textLength lengthAdjust
    baseline-shift dominant-baseline rotate startOffset method spacing direction unicode-bidi viewBox
    preserveAspectRatio version baseProfile xmlns xmlns:xlink xmlns:svg xmlns:rdf xmlns:cc xmlns:dc xmlns:inkscape
    xmlns:sodipodi xmlns:osb xmlns:serif xml:space xml:lang lang type media href xlink:href xlink:title xlink:type
    xlink:show xlink:actuate xlink:role xlink:arcrole target in in2 result stdDeviation mode operator k1 k2 k3 k4
    values tableValues slope intercept amplitude exponent filterUnits primitiveUnits filterRes scale
    xChannelSelector yChannelSelector flood-color flood-opacity lighting-color surfaceScale specularConstant
    specularExponent diffuseConstant azimuth elevation baseFrequency numOctaves seed stitchTiles edgeMode order
    divisor bias targetX targetY kernelMatrix preserveAlpha radius attributeName attributeType begin dur end from to
    by repeatCount repeatDur calcMode keyTimes keySplines additive accumulate restart inkscape:version
    inkscape:label inkscape:groupmode inkscape:cx inkscape:cy inkscape:zoom inkscape:window-width
    inkscape:window-height inkscape:window-x inkscape:window-y inkscape:window-maximized inkscape:current-layer
    inkscape:document-units inkscape:pageopacity inkscape:pageshadow inkscape:connector-curvature inkscape:collect
    inkscape:export-filename inkscape:export-xdpi inkscape:export-ydpi inkscape:transform-center-x
    inkscape:transform-center-y inkscape:guide-bbox inkscape:original-d inkscape:path-effect sodipodi:nodetypes
    sodipodi:docname sodipodi:version sodipodi:docbase sodipodi:type sodipodi:cx sodipodi:cy sodipodi:rx sodipodi:ry
    sodipodi:start sodipodi:end sodipodi:insensitive sodipodi:role sodipodi:linespacing pagecolor bordercolor
    borderopacity objecttolerance gridtolerance guidetolerance showgrid showguides rdf:about rdf:resource
    """.split()  # noqa: SIM905 (a list of quoted words would be twice as long)
)

COMMANDS = {
    "M": "move to", "L": "line to", "H": "horizontal line to", "V": "vertical line to", "C": "cubic curve to",
    "S": "smooth cubic curve to", "Q": "quadratic curve to", "T": "smooth quadratic curve to", "A": "elliptical arc to",
    "Z": "close path",
}  # fmt: skip

MEANINGS = {
    "d": "path data", "g": "group", "defs": "definitions", "desc": "description", "a": "link", "use": "reuse",
    "tspan": "text span", "rect": "rectangle", "r": "radius", "rx": "horizontal radius", "ry": "vertical radius",
    "cx": "center horizontal", "cy": "center vertical", "x": "horizontal position", "y": "vertical position",
    "x1": "start horizontal", "y1": "start vertical", "x2": "end horizontal", "y2": "end vertical",
    "fx": "focus horizontal", "fy": "focus vertical", "fr": "focus radius", "dx": "horizontal shift",
    "dy": "vertical shift", "href": "reference", "xlink:href": "reference", "viewBox": "visible area",
    "svg": "drawing", "stop": "gradient stop color", "id": "identifier", "xmlns": "namespace",
}  # fmt: skip


def meaning(name: str) -> str:
    """Say in English what an element or attribute is.

    Args:
        name: of an element or attribute.

    Returns:
        Words of lower case.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[-:_]", " ", name)
    return MEANINGS.get(name, spaced.lower().removeprefix("fe "))
