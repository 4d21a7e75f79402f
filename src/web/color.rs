//! Colours, and how well one can be seen on another: contrast as WCAG 2.2 measures it.

use std::fmt;

/// The least contrast between a text and what is behind it: WCAG 2.2, success criterion 1.4.3.
pub const TEXT_CONTRAST_MIN: f64 = 4.5;
/// The least contrast between a button and what is around it: WCAG 2.2, success criterion 1.4.11.
pub const SHAPE_CONTRAST_MIN: f64 = 3.0;

/// How much white is added at a time when a colour is made lighter.
const LIGHTENING_STEP: f64 = 0.1;

const WHITE: Color = Color::new(0xff, 0xff, 0xff);
const BLACK: Color = Color::new(0, 0, 0);

/// What the page's buttons stand on, in a light or a dark page: `--paper` and `--card` in web/css/page.css.
#[derive(Debug, Clone, Copy)]
pub struct Backgrounds([Color; 2]);

/// Those of the light page.
pub const LIGHT: Backgrounds = Backgrounds([Color::new(0xf4, 0xf6, 0xf8), WHITE]);
/// Those of the dark page.
pub const DARK: Backgrounds =
    Backgrounds([Color::new(0x12, 0x17, 0x1c), Color::new(0x1d, 0x24, 0x2b)]);

/// An opaque sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

/// The colours of a large button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accent {
    /// The button.
    pub color: Color,
    /// The text on it.
    pub text: Color,
}

impl Color {
    const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue }
    }

    /// Parses `rrggbb` or `#rrggbb`, of which `.env` files make a comment unless it is in quotes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize| u8::from_str_radix(digits.get(from..from + 2)?, 16).ok();
        Some(Self::new(part(0)?, part(2)?, part(4)?))
    }

    /// The relative luminance, from 0 to 1.
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// The contrast of two colours, from 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// White or black, whichever can be read better on this colour. Its contrast is always enough for text.
    pub fn text(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) {
            WHITE
        } else {
            BLACK
        }
    }

    /// The same colour with as much white as it takes to be seen well on the dark page.
    pub fn lightened_for_dark(self) -> Self {
        let mut white = 0.0;
        loop {
            let lighter = self.mixed_with_white(white);
            if white >= 1.0 || DARK.contrast(lighter) >= TEXT_CONTRAST_MIN {
                return lighter;
            }
            white += LIGHTENING_STEP;
        }
    }

    fn mixed_with_white(self, share: f64) -> Self {
        let mix = |part: u8| {
            let mixed = f64::from(part) + (255.0 - f64::from(part)) * share.clamp(0.0, 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to 255"
            )]
            let mixed = mixed.round() as u8;
            mixed
        };
        Self::new(mix(self.red), mix(self.green), mix(self.blue))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl Backgrounds {
    /// The contrast of a colour to the background that is most like it.
    pub fn contrast(self, color: Color) -> f64 {
        let contrasts = self.0.map(|background| background.contrast(color));
        contrasts.into_iter().fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn color(text: &str) -> Color {
        Color::parse(text).expect("a colour")
    }

    #[test]
    fn contrast_is_what_wcag_says() {
        for (one, other, contrast) in [
            ("#ffffff", "#000000", 21.0),
            ("#777777", "#ffffff", 4.48),
            ("#767676", "#ffffff", 4.54),
            ("#0b5cad", "#ffffff", 6.67),
            ("#ff0000", "#ffffff", 4.0),
            ("#00FF00", "#ffffff", 1.37),
            ("#123456", "#123456", 1.0),
        ] {
            for found in [
                color(one).contrast(color(other)),
                color(other).contrast(color(one)),
            ] {
                assert!((found - contrast).abs() < 0.01, "{one} {other}: {found}");
            }
        }
    }

    #[test]
    fn colours_are_six_hex_digits() {
        assert_eq!(color("#0B5cad").to_string(), "#0b5cad");
        assert_eq!(color("0b5cad").to_string(), "#0b5cad");
        for bad in [
            "##0b5cad",
            "#0b5ca",
            "#0b5cadff",
            "#+b5cad",
            "#é5cad",
            "red",
            "",
        ] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_backgrounds_are_those_of_the_page() {
        let css = include_str!("../../web/css/page.css");
        let (light, dark) = css.split_once("prefers-color-scheme: dark").expect("both");
        for (part, Backgrounds([paper, card])) in [(light, LIGHT), (dark, DARK)] {
            let card = card.to_string().replace("#ffffff", "#fff");
            assert!(part.contains(&format!("--paper: {paper};")), "{paper}");
            assert!(part.contains(&format!("--card: {card};")), "{card}");
        }
    }

    proptest! {
        #[test]
        fn any_colour_gets_a_text_that_can_be_read(red: u8, green: u8, blue: u8) {
            let color = Color::new(red, green, blue);
            prop_assert!(color.contrast(color.text()) >= TEXT_CONTRAST_MIN);
        }

        #[test]
        fn any_colour_can_be_made_light_enough(red: u8, green: u8, blue: u8) {
            let color = Color::new(red, green, blue).lightened_for_dark();
            prop_assert!(DARK.contrast(color) >= TEXT_CONTRAST_MIN);
        }
    }
}
