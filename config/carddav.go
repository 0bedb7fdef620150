package config

// BookCardDAV is an address book of a CardDAV server, such as Nextcloud.
const BookCardDAV = "carddav"

// checkCardDAV looks at a book of CardDAV.
func (b *Book) checkCardDAV(t *table) {
	d := &b.Directory
	t.refuse("is not for CardDAV", "remove it", "dir", "file", "charset", "columns")
	d.refuse(t, b.Provider)
	t.need("url", `such as "https://cloud.example.com/remote.php/dav"`)
	b.checkWeb(t)
	if t.has("oauth") {
		b.checkOAuth(t)
		return
	}
	password := d.Account.Password.IsSet() || anySecret(t, passwordKey)
	switch {
	case t.has("username") && !password:
		t.problem("username", "has no password", "set one of password_file, password_command, password_env, password_credential, password")
	case password && !t.has("username"):
		t.problem(t.firstGiven("url", "provider"), "has a password and no username", "set username")
	}
}

// cardDAVScope is what Google wants to see for CardDAV.
const cardDAVScope = "https://www.googleapis.com/auth/carddav"
