//! Whose page it is: what the pages show of the clinic.

use super::color::Accent;
use super::escape::escape;
use super::logo::Logo;

/// The stylesheet with the clinic's colours, among the page's files.
pub(super) const STYLESHEET: &str = "clinic.css";

/// The longest phone number as shown, in characters.
const PHONE_CHARS_MAX: usize = 40;
/// The fewest digits of a phone number, as in 112.
const PHONE_DIGITS_MIN: usize = 3;

/// The clinic. Without any of it, the pages are nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clinic {
    /// Its name; may be empty.
    pub name: String,
    /// Its logo. Only with a name, which stands for it where it is not seen.
    pub logo: Option<Logo>,
    /// The colours of large buttons on the light page.
    pub light: Option<Accent>,
    /// The same on the dark page.
    pub dark: Option<Accent>,
    /// Where patients call.
    pub phone: Option<Phone>,
    /// The address of its privacy notice.
    pub privacy_url: Option<String>,
    /// The address of its help.
    pub help_url: Option<String>,
    /// Where participants go after the call.
    pub end_url: Option<String>,
    /// The language for browsers that ask for none of the page's.
    pub language: String,
}

/// A phone number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    text: String,
    number: String,
}

impl Phone {
    /// Parses a phone number as people write it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_valid = |c: char| c.is_ascii_digit() || " +()./-".contains(c);
        let is_international = text.starts_with('+');
        if !text.chars().all(is_valid)
            || text.len() > PHONE_CHARS_MAX
            || text.strip_prefix('+').unwrap_or(text).contains('+')
        {
            return None;
        }
        // The zero in +49 (0)30 is for calls within the country only.
        let dialled = if is_international {
            text.replace("(0)", "")
        } else {
            text.to_owned()
        };
        let digits: String = dialled.chars().filter(char::is_ascii_digit).collect();
        let number = match is_international {
            true => format!("+{digits}"),
            false => digits.clone(),
        };
        (digits.len() >= PHONE_DIGITS_MIN).then(|| Self {
            text: text.to_owned(),
            number,
        })
    }
}

/// For whom a page is filled in.
pub(super) struct PageOf<'a> {
    /// The address of the page's files.
    pub(super) assets: &'a str,
    /// The texts of the page's language.
    pub(super) text: &'a dyn Fn(&str) -> &'a str,
    /// Whether the doctor reads it, who does not call the clinic.
    pub(super) is_doctors: bool,
}

impl Clinic {
    /// Fills in the places of a page that are the clinic's.
    pub(super) fn fill_in(&self, template: &str, page: &PageOf<'_>) -> String {
        let places = [
            ("<!-- clinic:style -->", self.style(page)),
            ("<!-- clinic:name -->", self.heading(page)),
            ("<!-- clinic:phone -->", self.phone(page)),
            ("<!-- clinic:end -->", self.way_back(page)),
            ("<!-- clinic:links -->", self.links(page)),
        ];
        places
            .iter()
            .fold(template.to_owned(), |filled, (place, html)| {
                filled.replace(place, html)
            })
    }

    /// The stylesheet: the colours, and `rules` for what else is the clinic's.
    pub(super) fn stylesheet(&self, rules: &str) -> String {
        let variables = |accent: &Accent| {
            let Accent { color, text } = accent;
            format!(":root {{ --accent: {color}; --on-accent: {text}; }}\n")
        };
        let light = self.light.as_ref().map(variables).unwrap_or_default();
        let dark = self.dark.as_ref().map(|accent| {
            let variables = variables(accent);
            format!("@media (prefers-color-scheme: dark) {{ {variables}}}\n")
        });
        format!("{light}{}{rules}", dark.unwrap_or_default())
    }

    /// Whether a page shows anything of it.
    fn is_shown(&self) -> bool {
        let nobody = Self {
            language: self.language.clone(),
            ..Self::default()
        };
        *self != nobody
    }

    fn style(&self, page: &PageOf<'_>) -> String {
        if self.is_shown() {
            let address = format!("{}/{STYLESHEET}", page.assets);
            format!(r#"<link rel="stylesheet" href="{}">"#, escape(&address))
        } else {
            String::new()
        }
    }

    fn heading(&self, page: &PageOf<'_>) -> String {
        if self.name.is_empty() {
            return String::new();
        }
        let logo = self.logo.as_ref().map(|logo| {
            let address = format!("{}/{}", page.assets, logo.file_name());
            format!(
                r#"<img class="clinic-logo" data-testid="clinic-logo" src="{}" alt="">"#,
                escape(&address)
            )
        });
        format!(
            r#"<p class="clinic" data-testid="clinic">{}<span>{}</span></p>"#,
            logo.unwrap_or_default(),
            escape(&self.name)
        )
    }

    fn phone(&self, page: &PageOf<'_>) -> String {
        match &self.phone {
            Some(phone) if !page.is_doctors => format!(
                r#"<p data-testid="clinic-phone"><a class="clinic-phone" href="tel:{}">{}</a></p>"#,
                phone.number,
                self.sentence(page, "clinic.call", &phone.text)
            ),
            _ => String::new(),
        }
    }

    fn way_back(&self, page: &PageOf<'_>) -> String {
        // In a frame, the clinic's page replaces the one around it.
        link(&self.end_url, |address| {
            format!(
                r#"<a class="button" data-testid="clinic-back" href="{address}" target="_top" rel="noreferrer">{}</a>"#,
                self.sentence(page, "clinic.back", "")
            )
        })
    }

    fn links(&self, page: &PageOf<'_>) -> String {
        let anchor = |url: &Option<String>, name: &str| {
            link(url, |address| {
                let text = escape((page.text)(&format!("clinic.{name}")));
                format!(
                    r#"<a data-testid="clinic-{name}" href="{address}" target="_blank" rel="noopener noreferrer">{text}</a>"#
                )
            })
        };
        let links = anchor(&self.help_url, "help") + &anchor(&self.privacy_url, "privacy");
        if links.is_empty() {
            links
        } else {
            format!(r#"<p class="clinic-links">{links}</p>"#)
        }
    }

    /// A text of the catalogue with the clinic's name, or its form for a clinic without a name.
    fn sentence(&self, page: &PageOf<'_>, key: &str, phone: &str) -> String {
        let text = if self.name.is_empty() {
            (page.text)(&format!("{key}.unnamed"))
        } else {
            (page.text)(key)
        };
        // In one piece and from left to right, whatever the language.
        let phone = format!("\u{2066}{}\u{2069}", phone.replace(' ', "\u{a0}"));
        let text = text.replace("{phone}", &phone);
        escape(&text.replace("{clinic}", &self.name))
    }
}

fn link(url: &Option<String>, html: impl Fn(String) -> String) -> String {
    url.as_deref().map(escape).map(html).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "<!-- clinic:style -->|<!-- clinic:name -->|<!-- clinic:phone -->|<!-- clinic:end -->|<!-- clinic:links -->";

    fn text(key: &str) -> &'static str {
        match key {
            "clinic.call" => "Call {clinic}: {phone}",
            "clinic.back" => "Back to {clinic}",
            "clinic.help" => "Help",
            _ => "other",
        }
    }

    fn page(is_doctors: bool) -> PageOf<'static> {
        PageOf {
            assets: "/assets/1",
            text: &text,
            is_doctors,
        }
    }

    fn clinic() -> Clinic {
        Clinic {
            name: "Sun & <Moon> {phone}".into(),
            phone: Phone::parse("+49 (0)30 / 12-34"),
            end_url: Some("https://sun.example/?a=1&b=\"2\"".into()),
            help_url: Some("https://sun.example/help".into()),
            ..Clinic::default()
        }
    }

    #[test]
    fn without_a_clinic_nothing_is_shown() {
        let nobody = Clinic {
            language: "es".into(),
            ..Clinic::default()
        };
        assert_eq!(nobody.fill_in(TEMPLATE, &page(false)), "||||");
        assert_eq!(nobody.stylesheet("p {}"), "p {}");
    }

    #[test]
    fn what_the_clinic_set_is_escaped() {
        let html = clinic().fill_in(TEMPLATE, &page(false));
        let parts: Vec<_> = html.split('|').collect();
        assert_eq!(
            parts[0],
            r#"<link rel="stylesheet" href="/assets/1/clinic.css">"#
        );
        assert!(
            parts[1].contains("Sun &amp; &lt;Moon&gt; &#123;phone}"),
            "{}",
            parts[1]
        );
        assert!(parts[2].contains(r#"href="tel:+493012"#), "{}", parts[2]);
        let shown = ": \u{2066}+49\u{a0}(0)30\u{a0}/\u{a0}12-34\u{2069}<";
        assert!(parts[2].contains(shown), "{}", parts[2]);
        let back = r#"href="https://sun.example/?a=1&amp;b=&quot;2&quot;""#;
        assert!(parts[3].contains(back), "{}", parts[3]);
        assert!(parts[4].contains(">Help</a></p>"), "{}", parts[4]);
    }

    #[test]
    fn the_doctor_is_not_told_to_call() {
        let html = clinic().fill_in(TEMPLATE, &page(true));
        assert!(!html.contains("tel:"), "{html}");
        assert!(html.contains("clinic-back"), "{html}");
    }

    #[test]
    fn phone_numbers_are_dialled_without_signs() {
        for (text, number) in [
            ("112", "112"),
            ("030 123.456-7", "0301234567"),
            ("(030) 1234", "0301234"),
            ("+49 (0)30 1234", "+49301234"),
            ("+1-202-555-0100", "+12025550100"),
        ] {
            let phone = Phone::parse(text).expect(text);
            assert_eq!((phone.text.as_str(), phone.number.as_str()), (text, number));
        }
        let long = "1".repeat(PHONE_CHARS_MAX + 1);
        for bad in [
            "",
            "12",
            "call us",
            "030 12 ext 3",
            "++49 30 12",
            "030+12",
            &long,
        ] {
            assert_eq!(Phone::parse(bad), None, "{bad}");
        }
    }
}
