using System.Net;
using System.Text;

namespace GpuEngine.Lab.Reports;

/// <summary>A self-contained page: it opens offline, prints, and follows the reader's light or dark setting.</summary>
public sealed class HtmlPage(string title)
{
    private const string Style = """
        :root{color-scheme:light dark;--ink:#1f2937;--soft:#6b7280;--line:#e5e7eb;--back:#fff}
        @media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--soft:#9ca3af;--line:#374151;--back:#111827}}
        body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:1000px;margin:2rem auto;padding:0 1rem}
        h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p.lead{font-size:1.1rem}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right}th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
        svg{width:100%;max-width:640px;display:block;margin:1rem 0}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg .title{font-size:13px;font-weight:600;fill:var(--ink)}
        svg .legend{font-weight:600}svg .grid{stroke:var(--line)}code{font-size:.9em}.row{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:1rem}
        """;

    private readonly StringBuilder _body = new();

    public HtmlPage Heading(string text) => Raw($"<h2>{WebUtility.HtmlEncode(text)}</h2>");

    public HtmlPage Lead(string text) => Raw($"<p class=\"lead\">{WebUtility.HtmlEncode(text)}</p>");

    public HtmlPage Paragraph(string text) => Raw($"<p>{WebUtility.HtmlEncode(text)}</p>");

    /// <summary>Charts side by side where there is room.</summary>
    public HtmlPage Charts(params string[] svgs) => Raw($"<div class=\"row\">{string.Concat(svgs)}</div>");

    public HtmlPage Table(IReadOnlyList<string> columns, IEnumerable<IReadOnlyList<string>> rows)
    {
        _body.Append("<table><thead><tr>");
        foreach (var column in columns) _body.Append($"<th>{WebUtility.HtmlEncode(column)}</th>");
        _body.Append("</tr></thead><tbody>");
        foreach (var row in rows)
        {
            _body.Append("<tr>");
            foreach (var cell in row) _body.Append($"<td>{WebUtility.HtmlEncode(cell)}</td>");
            _body.Append("</tr>");
        }

        _body.Append("</tbody></table>");
        return this;
    }

    public override string ToString() =>
        $"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{WebUtility.HtmlEncode(title)}</title><style>{Style}</style></head><body><h1>{WebUtility.HtmlEncode(title)}</h1>{_body}</body></html>\n";

    private HtmlPage Raw(string html)
    {
        _body.Append(html);
        return this;
    }
}
