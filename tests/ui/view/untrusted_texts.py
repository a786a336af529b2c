"""What a report, a key or a label may hold that a page of Markdown would make something else of."""

from __future__ import annotations

from typing import Final

KINDS: Final = (
    # links
    *(
        "[label](https://evil.example/x)",
        "<https://evil.example>",
        "see https://evil.example/a?b=c.",
        "HTTP://EVIL.EXAMPLE",
    ),
    *("www.evil.example", "(WWW.evil.example)", "a@evil.example", "<a@evil.example>", "mailto:a@evil.example"),
    *(
        "xmpp:a@evil.example/r",
        "xhttps://evil.example",
        "https://evil.example:80/@b",
        "http://[::1]/x",
        "ftp://evil.example",
    ),
    *("&#104;ttps://evil.example", "https&#58;//evil.example", r"https:\/\/evil.example", "https\u200b://evil.example"),
    *("\u00adhttps://evil.example", "[label][ref] and [ref]: https://evil.example", "[x](javascript:alert(1))"),
    # pictures and HTML
    *("![pixel](https://evil.example/p.png)", "<img src=https://evil.example/p.png>", "<script>alert(1)</script>"),
    *("<a href='https://evil.example'>x</a>", "<b>x</b><!-- y -->", "&lt;b&gt; &copy; &#64;"),
    # form
    *(
        "**bold** *em* ~~gone~~ `code`",
        "__bold__ _em_ A_B_C",
        "# heading",
        "- item",
        "1. item",
        "1) item",
        "+ item",
        "* item",
    ),
    *("> quote", "| a | b |", "---", "***", "===", "- [x] done", "[^1] and [^1]: note", "```code```", "\\"),
    # Streamlit's own
    *(":red[danger] :blue-background[x]", ":red-badge[x]", ":small[x]", ":shortcut[K]", ":material/home: here"),
    *(":streamlit: here", ":smile: :+1: :thumbsup:", "$x^2$ and $$y$$", r"\(x\) \[y\] \alpha \\ \$5"),
    *("a -> b <- c <-> d -- e >= f <= g ~= h", "->", ">= 5"),
    # nothing of all that
    *("N:C ratio 1:2:3, p16+ / Ki-67 ~ 20 % (CIN 2-3)!", "A & B; 100 % [sic] {x} \"y\" 'z'", "naïve – “quoted” …"),
)
CONTROL: Final = (
    "https://evil.example",
    "www.evil.example",
    "a@evil.example",
    ":material/home:",
    "$x^2$",
    "a -> b",
    ":smile:",
)
"""What Streamlit does make something of where it is not escaped: else the test would look for the wrong thing."""
