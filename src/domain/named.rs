//! Enums whose members have one name in stores, tokens and signalling.

/// Adds `ALL`, `name` and `from_name` to enums that derive `strum`'s [`VariantArray`](strum::VariantArray), `IntoStaticStr` and
/// `EnumString`. Names are stored, so they never change.
macro_rules! named {
    ($($name:ident),+) => {$(
        impl $name {
            /// Every member.
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// Its name.
            pub fn name(self) -> &'static str {
                self.into()
            }

            /// The member with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                name.parse().ok()
            }
        }
    )+};
}

pub(super) use named;
