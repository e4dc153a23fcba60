package radius

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"zonegate"
)

// A Language is the language of the Reply-Messages of a zone: "fr" or "en".
// Anything else is French.
type Language string

// The languages that there are.
const (
	French  Language = "fr"
	English Language = "en"
)

// A text is one Reply-Message, in French and in English. The words are those
// that somebody with little schooling uses, and what to do next is always said.
// NASes put a Reply-Message into their pages and scripts as it is, so there is
// nothing in it that means something there: no quotation mark of ASCII, no
// angle bracket, no backslash, no ampersand, and nothing that somebody sent us.
type text struct{ french, english string }

// in returns the text in a language. It is at most 253 octets of UTF-8, what
// an attribute holds (RFC 2865 section 5.18).
func (t text) in(l Language) string {
	if l == English {
		return t.english
	}
	return t.french
}

// A refusal is a sentinel of the Gate that becomes an Access-Reject.
type refusal struct {
	err  error
	says text
}

// waitMark stands for the time to wait.
const waitMark = "#"

var refusals = []refusal{
	{zonegate.ErrWrongCode, text{
		"Ce code n’est pas juste. Regardez bien le ticket et tapez le code encore une fois.",
		"This code is not right. Look at the ticket and type the code once more."}},
	{zonegate.ErrCodeTooLong, text{
		"Ce code est trop long. Regardez bien le ticket et tapez le code encore une fois.",
		"This code is too long. Look at the ticket and type the code once more."}},
	{zonegate.ErrWrongPassword, text{
		"Le mot de passe n’est pas juste. Tapez celui du ticket. Si le ticket n’en a pas, laissez-le vide.",
		"The password is not right. Type the one on the ticket. If the ticket has none, leave it empty."}},
	{zonegate.ErrForeignCode, text{
		"Ce code est pour une autre zone WiFi. Vérifiez-le, ou utilisez-le là où vous l’avez acheté.",
		"This code is for another WiFi zone. Check it, or use it where you bought it."}},
	{zonegate.ErrUsedCode, text{
		"Ce code est déjà utilisé et il est fini. Achetez un nouveau code chez le vendeur.",
		"This code was used and nothing is left of it. Buy a new code from the seller."}},
	{zonegate.ErrExpiredCode, text{
		"La date de ce code est passée. Montrez le ticket au vendeur.",
		"This code is out of date. Show the ticket to the seller."}},
	{zonegate.ErrRevokedCode, text{
		"Le vendeur a annulé ce code. Montrez le ticket au vendeur.",
		"The seller has cancelled this code. Show the ticket to the seller."}},
	{zonegate.ErrNotPaidYet, text{
		"Le paiement de ce code n’est pas encore confirmé. Essayez encore dans une minute.",
		"The payment of this code is not confirmed yet. Try again in a minute."}},
	{zonegate.ErrOtherDevice, text{
		"Ce code est utilisé sur un autre téléphone. Pour changer de téléphone, demandez au vendeur.",
		"This code is in use on another phone. To change phones, ask the seller."}},
	{zonegate.ErrMovedRecently, text{
		"Ce forfait vient de changer de téléphone. Attendez # et essayez encore.",
		"This plan has just changed phones. Wait # and try again."}},
	{zonegate.ErrTooManyCodes, text{
		"Trop de codes faux. Attendez # et essayez encore.",
		"Too many wrong codes. Wait # and try again."}},
	{zonegate.ErrTooOften, text{
		"Connexion et déconnexion trop souvent. Attendez # et essayez encore.",
		"Connected and disconnected too often. Wait # and try again."}},
	{zonegate.ErrNoGrant, text{
		"Il ne reste rien sur ce téléphone. Achetez un code chez le vendeur.",
		"Nothing is left on this phone. Buy a code from the seller."}},
	{zonegate.ErrNoSuchGrant, text{
		"Ce forfait n’existe plus. Achetez un code chez le vendeur.",
		"This plan does not exist any more. Buy a code from the seller."}},
	{zonegate.ErrGrantEnded, text{
		"Ce forfait est terminé. Achetez un nouveau code chez le vendeur.",
		"This plan has ended. Buy a new code from the seller."}},
	{zonegate.ErrNoSuchPlan, text{
		"Le forfait de ce code n’existe pas ici. Montrez le ticket au vendeur.",
		"The plan of this code does not exist here. Show the ticket to the seller."}},
}

// Refusals that are not the Gate's.
var (
	textTicket = text{
		"Cette connexion est trop vieille. Ouvrez encore la page de connexion.",
		"This sign-in is too old. Open the sign-in page again."}
	textEmpty = text{
		"Le code manque. Tapez le code qui est écrit sur le ticket.",
		"The code is missing. Type the code that is written on the ticket."}

	// What follows is for who sets the NAS up: it shows in the NAS's log.
	textNoDevice = text{
		"Réglage du point d’accès : l’adresse MAC du client manque (Calling-Station-Id). Réglez-le pour qu’il l’envoie.",
		"NAS set-up: the MAC address of the client is missing (Calling-Station-Id). Set the NAS to send it."}
	textBadDevice = text{
		"Réglage du point d’accès : Calling-Station-Id n’est pas une adresse MAC. Réglez-le pour qu’il envoie l’adresse MAC du client.",
		"NAS set-up: Calling-Station-Id is not a MAC address. Set the NAS to send the MAC address of the client."}
	textOtherMAC = text{
		"Réglage du point d’accès : le nom est une adresse MAC qui n’est pas celle de Calling-Station-Id.",
		"NAS set-up: the user name is a MAC address, but not the one in Calling-Station-Id."}
	textMethod = text{
		"Réglage du point d’accès : utilisez PAP, CHAP ou MS-CHAPv2, un seul par demande.",
		"NAS set-up: use PAP, CHAP or MS-CHAPv2, exactly one in a request."}
	textEAP = text{
		"Réglage du point d’accès : EAP (WPA-Enterprise) n’est pas possible ici. Utilisez un réseau WiFi ouvert avec page de connexion.",
		"NAS set-up: EAP (WPA-Enterprise) is not possible here. Use an open WiFi network with a sign-in page."}
)

// refuse returns the Reply-Message of a Gate's refusal. It is false for an
// error that is no answer to the customer: see [unanswered].
func (l Language) refuse(err error) (string, bool) {
	for _, r := range refusals {
		if !errors.Is(err, r.err) {
			continue
		}
		after := time.Minute
		var again *zonegate.RetryError
		if errors.As(err, &again) {
			after = again.After
		}
		return strings.ReplaceAll(r.says.in(l), waitMark, l.wait(after)), true
	}
	return "", false
}

// wait says a time in whole minutes, never too short.
func (l Language) wait(d time.Duration) string {
	n := max(1, (d+time.Minute-1)/time.Minute)
	s := strconv.FormatInt(int64(n), 10) + " minute"
	if n > 1 {
		s += "s"
	}
	return s
}
