//! Text in HTML.

/// A text as the content of an element or the value of an attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
        // A value must not become a placeholder.
        .replace('{', "&#123;")
}
