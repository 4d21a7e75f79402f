//! Settings of the clinic whose page it is.

use std::fs::File;
use std::io::Read as _;

use url::Host;

use super::env::Env;
use super::urls::parse_url;
use crate::domain::label::text_fault;
use crate::web::color::{
    Accent, Backgrounds, Color, DARK, LIGHT, SHAPE_CONTRAST_MIN, TEXT_CONTRAST_MIN,
};
use crate::web::{Clinic, LOGO_BYTES_MAX, Logo, Phone, languages};

/// The longest name of a clinic, in characters: more would fill a phone's first screen.
const NAME_CHARS_MAX: usize = 80;

/// The settings for one of the page's colour schemes.
struct Scheme {
    color: &'static str,
    text: &'static str,
    backgrounds: Backgrounds,
    name: &'static str,
}

const LIGHT_SCHEME: Scheme = Scheme {
    color: "PAGE_COLOR",
    text: "PAGE_COLOR_TEXT",
    backgrounds: LIGHT,
    name: "light",
};
const DARK_SCHEME: Scheme = Scheme {
    color: "PAGE_COLOR_DARK",
    text: "PAGE_COLOR_DARK_TEXT",
    backgrounds: DARK,
    name: "dark",
};

/// With `--dev`, links may lead to this machine over plain HTTP.
pub(super) fn read(env: &mut Env<'_>, dev: bool) -> Option<Clinic> {
    let name = read_name(env);
    let logo = read_logo(env);
    if logo.is_some() && name.as_deref() == Some("") {
        env.report_fault(
            "PAGE_CLINIC_NAME",
            "must be set with PAGE_LOGO_FILE, for participants who do not see the logo",
        );
    }
    let color = read_color(env, LIGHT_SCHEME.color);
    let light = read_accent(env, &LIGHT_SCHEME, color);
    let dark = read_color(env, DARK_SCHEME.color).or(color.map(Color::lightened_for_dark));
    let dark = read_accent(env, &DARK_SCHEME, dark);
    let phone = env.optional("PAGE_PHONE").and_then(|text| {
        let phone = Phone::parse(&text);
        if phone.is_none() {
            let rule = "must be a phone number of at most 40 digits, spaces, ( ) . / and -, with + at its start only";
            env.report_fault("PAGE_PHONE", rule);
        }
        phone
    });
    let privacy_url = read_url(env, "PAGE_PRIVACY_URL", dev);
    let help_url = read_url(env, "PAGE_HELP_URL", dev);
    let end_url = read_url(env, "PAGE_END_URL", dev);
    let known = languages();
    let rule = format!("must be a language of the page: {}", known.join(", "));
    let language = env.parse("PAGE_LANGUAGE", "en", &rule, |text| {
        known.iter().find(|known| *known == text).cloned()
    });
    Some(Clinic {
        name: name?,
        logo,
        light,
        dark,
        phone,
        privacy_url,
        help_url,
        end_url,
        language: language?,
    })
}

fn read_name(env: &mut Env<'_>) -> Option<String> {
    let rule =
        format!("must have at most {NAME_CHARS_MAX} characters, none of them control characters");
    env.parse("PAGE_CLINIC_NAME", "", &rule, |text| {
        let is_valid = text_fault(text).is_none() && text.chars().count() <= NAME_CHARS_MAX;
        is_valid.then(|| text.to_owned())
    })
}

fn read_logo(env: &mut Env<'_>) -> Option<Logo> {
    const SETTING: &str = "PAGE_LOGO_FILE";
    let path = env.optional(SETTING)?;
    let read = || -> std::io::Result<Vec<u8>> {
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(&path)?.is_file() {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut content = Vec::new();
        let mut file = File::open(&path)?.take(LOGO_BYTES_MAX + 1);
        file.read_to_end(&mut content)?;
        Ok(content)
    };
    let logo = read()
        .map_err(|error| format!("names a file that cannot be read: {}", error.kind()))
        .and_then(|content| Logo::parse(content).map_err(|error| error.to_string()));
    logo.map_err(|rule| env.report_fault(SETTING, rule)).ok()
}

fn read_color(env: &mut Env<'_>, setting: &'static str) -> Option<Color> {
    let text = env.optional(setting)?;
    let color = Color::parse(&text);
    if color.is_none() {
        env.report_fault(setting, "must be a colour of six hex digits, as in 0b5cad");
    }
    color
}

/// Reads the text's colour, and checks that the button can be seen and its text be read.
fn read_accent(env: &mut Env<'_>, scheme: &Scheme, color: Option<Color>) -> Option<Accent> {
    let text = read_color(env, scheme.text);
    let Some(color) = color else {
        if text.is_some() {
            let rule = format!("must not be set without {}", scheme.color);
            env.report_fault(scheme.text, rule);
        }
        return None;
    };
    let contrast = scheme.backgrounds.contrast(color);
    if contrast < SHAPE_CONTRAST_MIN {
        let rule = format!(
            "must have a contrast of at least {SHAPE_CONTRAST_MIN}:1 to the {} page's background; it has {contrast:.1}:1",
            scheme.name
        );
        env.report_fault(scheme.color, rule);
    }
    let text = text.unwrap_or_else(|| color.text());
    let contrast = color.contrast(text);
    if contrast < TEXT_CONTRAST_MIN {
        let rule = format!(
            "must have a contrast of at least {TEXT_CONTRAST_MIN}:1 to the button's colour; it has {contrast:.1}:1"
        );
        env.report_fault(scheme.text, rule);
    }
    Some(Accent { color, text })
}

fn read_url(env: &mut Env<'_>, setting: &'static str, dev: bool) -> Option<String> {
    let text = env.optional(setting)?;
    let here = |host: Host<&str>| match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let url = parse_url(&text, &["http", "https"])
        .filter(|url| url.scheme() == "https" || (dev && url.host().is_some_and(here)));
    if url.is_none() {
        let rule = "must be an https:// address without a user or a password; with --dev, http://localhost will do";
        env.report_fault(setting, rule);
    }
    url.map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Fault;

    fn read_with(settings: &[(&str, &str)], dev: bool) -> Result<Clinic, Vec<Fault>> {
        let lookup = |name: &str| {
            let found = settings.iter().find(|(setting, _)| *setting == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut env = Env::new(&lookup);
        let clinic = read(&mut env, dev);
        env.finish(clinic)
    }

    fn faulty(settings: &[(&str, &str)]) -> Vec<&'static str> {
        match read_with(settings, false) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.setting).collect(),
        }
    }

    #[test]
    fn without_settings_it_is_nobodys_page() {
        let nobody = Clinic {
            language: "en".into(),
            ..Clinic::default()
        };
        assert_eq!(read_with(&[], false), Ok(nobody));
    }

    #[test]
    fn each_fault_names_its_setting() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("a file");
            path.to_str().expect("utf-8").to_owned()
        };
        let (text, directory) = (file("text", b"logo"), dir.path().to_str().expect("utf-8"));
        let long_name = "x".repeat(NAME_CHARS_MAX + 1);
        for (setting, value) in [
            ("PAGE_CLINIC_NAME", long_name.as_str()),
            ("PAGE_CLINIC_NAME", "a\u{7}b"),
            ("PAGE_LOGO_FILE", "/nowhere/logo.svg"),
            ("PAGE_LOGO_FILE", directory),
            ("PAGE_LOGO_FILE", &text),
            ("PAGE_COLOR", "blue"),
            ("PAGE_COLOR", "#ffd54a"),
            ("PAGE_COLOR_TEXT", "#ffffff"),
            ("PAGE_COLOR_DARK", "#123"),
            ("PAGE_COLOR_DARK", "#0b5cad"),
            ("PAGE_COLOR_DARK_TEXT", "#000000"),
            ("PAGE_PHONE", "call us"),
            ("PAGE_PRIVACY_URL", "http://clinic.example/privacy"),
            ("PAGE_HELP_URL", "javascript:alert(1)"),
            ("PAGE_END_URL", "http://localhost:3000"),
            ("PAGE_END_URL", "https://user:pw@clinic.example"),
            ("PAGE_LANGUAGE", "tlh"),
        ] {
            assert_eq!(faulty(&[(setting, value)]), [setting], "{setting} {value}");
        }
    }

    #[test]
    fn a_logo_needs_a_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logo.png");
        std::fs::write(&path, b"\x89PNG\r\n\x1a\n").expect("a file");
        let logo = ("PAGE_LOGO_FILE", path.to_str().expect("utf-8"));
        assert_eq!(faulty(&[logo]), ["PAGE_CLINIC_NAME"]);
        assert_eq!(faulty(&[logo, ("PAGE_CLINIC_NAME", "Sun")]), [""; 0]);
    }

    #[test]
    fn a_text_that_cannot_be_read_on_its_button_is_refused() {
        let color = ("PAGE_COLOR", "#00796b");
        assert_eq!(faulty(&[color]), [""; 0]);
        assert_eq!(faulty(&[color, ("PAGE_COLOR_TEXT", "#ffffff")]), [""; 0]);
        assert_eq!(
            faulty(&[color, ("PAGE_COLOR_TEXT", "#444444")]),
            ["PAGE_COLOR_TEXT"]
        );
        let dark = [color, ("PAGE_COLOR_DARK_TEXT", "#ffffff")];
        assert_eq!(faulty(&dark), ["PAGE_COLOR_DARK_TEXT"]);
    }

    #[test]
    fn one_colour_is_enough_for_the_light_and_the_dark_page() {
        let clinic = read_with(&[("PAGE_COLOR", "#00796B")], false).expect("valid");
        let colors = |accent: Option<Accent>| {
            accent.map(|Accent { color, text }| (color.to_string(), text.to_string()))
        };
        let pair = |color: &str, text: &str| Some((color.to_owned(), text.to_owned()));
        assert_eq!(colors(clinic.light), pair("#00796b", "#ffffff"));
        assert_eq!(colors(clinic.dark), pair("#4da197", "#000000"));
    }

    #[test]
    fn dev_may_link_to_this_machine() {
        let end = [("PAGE_END_URL", "http://localhost:3000/done?from=video")];
        let clinic = read_with(&end, true).expect("valid");
        assert_eq!(clinic.end_url.as_deref(), Some(end[0].1));
        assert!(read_with(&[("PAGE_END_URL", "http://clinic.example/")], true).is_err());
    }
}
