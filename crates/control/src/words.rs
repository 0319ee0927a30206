//! Enumerations of the protocol's words.

/// An enumeration of words that Tor writes or reads, with a last variant for every other word, so
/// that no newer Tor is refused.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident else $other:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* #[doc = concat!("\n\nWritten `", $word, "`.")] $variant,)*
            /// Any other word, as it stands in the protocol.
            $other(String),
        }

        impl $name {
            /// Takes a word of the protocol; case matters.
            pub fn from_word(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::$other(word.to_owned()),
                }
            }

            /// The word in the protocol.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::$other(word) => word,
                }
            }
        }

        /// Writes the word of the protocol.
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro makes public enumerations")]
mod tests {
    words! {
        /// Fruit.
        pub enum Fruit else Unknown {
            /// An apple.
            Apple = "APPLE",
        }
    }

    #[test]
    fn words_come_back() {
        for (word, fruit) in [
            ("APPLE", Fruit::Apple),
            ("apple", Fruit::Unknown("apple".to_owned())),
            ("", Fruit::Unknown(String::new())),
        ] {
            assert_eq!(Fruit::from_word(word), fruit);
            assert_eq!(fruit.as_str(), word);
            assert_eq!(fruit.to_string(), word);
        }
    }
}
