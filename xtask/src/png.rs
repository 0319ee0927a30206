//! SVG to PNG, with a font that comes along: the picture is the same on every machine.

use anyhow::Context as _;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels per unit.
const SCALE: f32 = 2.0;

/// Renders an SVG document whose text is in Noto Sans.
pub(crate) fn render(svg: &str) -> anyhow::Result<Vec<u8>> {
    let mut options = Options::default();
    for font in [notosans::REGULAR_TTF, notosans::BOLD_TTF] {
        options.fontdb_mut().load_font_data(font.to_vec());
    }
    let tree = Tree::from_str(svg, &options).context("the picture is no SVG")?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .context("the picture has no size")?;
    let mut pixmap = Pixmap::new(size.width(), size.height()).context("the picture is too large")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    Ok(pixmap.encode_png()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_leaves_ink() {
        let svg = |text: &str| {
            format!(
                "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20' font-family='Noto Sans'><text y='15'>{text}</text></svg>"
            )
        };
        let (empty, full) = (render(&svg("")).unwrap(), render(&svg("ring")).unwrap());
        assert!(empty.starts_with(b"\x89PNG"));
        assert_ne!(empty, full, "the font was found");
    }
}
