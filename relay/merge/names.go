package merge

import "strings"

// names are those of months and days in one language. Weeks begin on Sunday,
// as in package time. ofMonths, where it is another, stands behind a day.
type names struct {
	months, ofMonths, shortMonths []string
	days, shortDays               []string
}

// namesIn are the names in a language, by its ISO 639 code: nil where they are
// not known here, and for English, which package time writes by itself.
func namesIn(language string) *names {
	list, ok := namesByLanguage[language]
	if !ok {
		return nil
	}
	n := &names{
		months: strings.Fields(list[0]), shortMonths: strings.Fields(list[2]),
		days: strings.Fields(list[3]), shortDays: strings.Fields(list[4]),
	}
	if n.ofMonths = n.months; list[1] != "" {
		n.ofMonths = strings.Fields(list[1])
	}
	return n
}

// namesByLanguage: months, months behind a day, short months, days, short days.
var namesByLanguage = map[string][5]string{
	"de": {
		"Januar Februar März April Mai Juni Juli August September Oktober November Dezember", "",
		"Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
		"Sonntag Montag Dienstag Mittwoch Donnerstag Freitag Samstag", "So Mo Di Mi Do Fr Sa",
	},
	"fr": {
		"janvier février mars avril mai juin juillet août septembre octobre novembre décembre", "",
		"janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
		"dimanche lundi mardi mercredi jeudi vendredi samedi", "dim. lun. mar. mer. jeu. ven. sam.",
	},
	"es": {
		"enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre", "",
		"ene feb mar abr may jun jul ago sept oct nov dic",
		"domingo lunes martes miércoles jueves viernes sábado", "dom lun mar mié jue vie sáb",
	},
	"it": {
		"gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre", "",
		"gen feb mar apr mag giu lug ago set ott nov dic",
		"domenica lunedì martedì mercoledì giovedì venerdì sabato", "dom lun mar mer gio ven sab",
	},
	"pt": {
		"janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro", "",
		"jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.",
		"domingo segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado", "dom. seg. ter. qua. qui. sex. sáb.",
	},
	"nl": {
		"januari februari maart april mei juni juli augustus september oktober november december", "",
		"jan feb mrt apr mei jun jul aug sep okt nov dec",
		"zondag maandag dinsdag woensdag donderdag vrijdag zaterdag", "zo ma di wo do vr za",
	},
	"da": {
		"januar februar marts april maj juni juli august september oktober november december", "",
		"jan. feb. mar. apr. maj jun. jul. aug. sep. okt. nov. dec.",
		"søndag mandag tirsdag onsdag torsdag fredag lørdag", "søn. man. tirs. ons. tors. fre. lør.",
	},
	"sv": {
		"januari februari mars april maj juni juli augusti september oktober november december", "",
		"jan. feb. mars apr. maj juni juli aug. sep. okt. nov. dec.",
		"söndag måndag tisdag onsdag torsdag fredag lördag", "sön mån tis ons tors fre lör",
	},
	"nb": norwegian, "no": norwegian,
	"pl": {
		"styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień",
		"stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
		"sty lut mar kwi maj cze lip sie wrz paź lis gru",
		"niedziela poniedziałek wtorek środa czwartek piątek sobota", "niedz. pon. wt. śr. czw. pt. sob.",
	},
	"cs": {
		"leden únor březen duben květen červen červenec srpen září říjen listopad prosinec",
		"ledna února března dubna května června července srpna září října listopadu prosince",
		"led úno bře dub kvě čvn čvc srp zář říj lis pro",
		"neděle pondělí úterý středa čtvrtek pátek sobota", "ne po út st čt pá so",
	},
}

var norwegian = [5]string{
	"januar februar mars april mai juni juli august september oktober november desember", "",
	"jan. feb. mars apr. mai juni juli aug. sep. okt. nov. des.",
	"søndag mandag tirsdag onsdag torsdag fredag lørdag", "søn. man. tir. ons. tor. fre. lør.",
}
