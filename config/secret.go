package config

// Secret is a secret and where it comes from. It never shows itself: every
// form of printing, and JSON, give "[secret]".
type Secret struct{}
