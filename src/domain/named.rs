//! Enums whose members have names: the same in stores, in tokens and in signalling.

/// Gives enums that derive `strum`'s [`VariantArray`](strum::VariantArray), `IntoStaticStr` and `EnumString` one way to name
/// their members. A name is stored: it never changes.
macro_rules! named {
    ($($name:ident),+) => {$(
        impl $name {
            /// Every member.
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// Its name.
            pub fn name(self) -> &'static str {
                self.into()
            }

            /// The member of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                name.parse().ok()
            }
        }
    )+};
}

pub(super) use named;
