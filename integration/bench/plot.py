"""Bars as an SVG."""


def bars(title, colours, rows, ours, unit=22):
    """A group of bars for each of `rows` (what: {name: value}), as ratios to that of `ours`. `unit` is the length of
    1; what is longer than the picture is cut."""
    width, label, high = 860, 210, 14
    lines, y = [], 40
    for what, of in rows.items():
        lines.append(f'<text x="{label - 10}" y="{y + high * len(of) / 2 + 4:.0f}" text-anchor="end">{what}</text>')
        for name, value in of.items():
            ratio = value / of[ours]
            long = min(ratio * unit, width - label - 60)
            lines.append(f'<rect x="{label}" y="{y}" width="{long:.1f}" height="{high - 2}" fill="{colours[name]}"/>')
            lines.append(f'<text x="{label + long + 5:.1f}" y="{y + high - 4}">{ratio:.2f}</text>')
            y += high
        y += 12
    x = label
    for name, colour in colours.items():
        lines.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text x="{x + 17}" y="22">{name}</text>')
        x += 40 + 7 * len(name)
    text = "\n".join(lines)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            f'<text x="10" y="22">{title}</text>\n{text}\n</svg>\n')
