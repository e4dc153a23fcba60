package web

import "fmt"

// A Lang is a language of the pages.
type Lang uint8

const (
	French Lang = iota
	English
	languages
)

// Tag returns the language as HTML and HTTP name it.
func (l Lang) Tag() string {
	if l == English {
		return "en"
	}
	return "fr"
}

// ParseLang returns the language with a tag such as "fr" or "en-GB".
func ParseLang(tag string) (Lang, bool) {
	if len(tag) < 2 || len(tag) > 2 && tag[2] != '-' && tag[2] != '_' {
		return 0, false
	}
	// Setting bit 5 makes an ASCII letter lower case.
	switch string([]byte{tag[0] | 0x20, tag[1] | 0x20}) {
	case "fr":
		return French, true
	case "en":
		return English, true
	}
	return 0, false
}

// Say returns a text, with its arguments put in.
func (l Lang) Say(t Text, args ...any) string {
	s := texts[t][l]
	if len(args) > 0 {
		s = fmt.Sprintf(s, args...)
	}
	return s
}

// A Text names one text that a customer reads.
type Text uint8

const (
	// TextNone is no text.
	TextNone Text = iota
	TextOtherLanguage
	TextHelp

	TextHomeTitle
	TextHomeSteps
	TextCode
	TextCodeHint
	TextGo
	TextPlans
	TextNoPlans
	TextWaiting
	TextContinue
	TextContinueHint

	TextOnlineTitle
	TextOnlineHint
	TextPendingTitle
	TextPendingHint
	TextOfflineTitle
	TextStatusTitle
	TextPlan
	TextTimeLeft
	TextDataLeft
	TextOf
	TextNoCap
	TextUsed
	TextSpeed
	TextUpTo
	TextUpToKept
	TextLineSpeed
	TextEnds
	TextNotStarted
	TextQueue
	TextQueued
	TextMoved
	TextLogout
	TextLogoutTimeStops
	TextLogoutTimeRuns
	TextAddTitle
	TextAddHint
	TextAdd
	TextBack
	TextKeepTitle
	TextKeepHint

	TextElsewhereTitle
	TextElsewhereHint
	TextMoveHere

	TextHaveTitle
	TextHaveHint
	TextOpenAnyPage

	TextPay
	TextPayTitle
	TextPayNumber
	TextPayNumberHint
	TextPayNow
	TextPayBack
	TextPayUnderWay
	TextPaySee
	TextPayOffline
	TextPayNoPages
	TextPayAway
	TextPayAwayNext
	TextPayStarting
	TextPayWait
	TextPayConfirm
	TextPayConfirmHint
	TextPayThere
	TextPayThereHint
	TextPayOpenPage
	TextPayLong
	TextPayCodeHint
	TextPaid
	TextPayReceived
	TextPayReview
	TextPayRefunded
	TextPayFailed
	TextPayCanceled
	TextPayNothing
	TextPayExpired
	TextPayExpiredHint
	TextPayAgain
	TextPayNumberWrong
	TextPayNumberNext
	TextPayWay
	TextPayWayNext
	TextPayOther
	TextPayOtherNext
	TextPayLater
	TextPayTaken
	TextPayTakenNext
	TextPayNotYet
	TextPayNotYetNext

	TextConfirmMove
	TextGoPortal
	TextTryAgain

	TextEmpty
	TextEmptyNext
	TextWrong
	TextWrongNext
	TextTooLong
	TextPassword
	TextPasswordNext
	TextForeign
	TextForeignNext
	TextUsedUp
	TextUsedUpNext
	TextExpired
	TextExpiredNext
	TextRevoked
	TextRevokedNext
	TextOtherDevice
	TextOtherDeviceNext
	TextTooMany
	TextTooOften
	TextMovedRecently
	TextWaitNext
	TextNotDurable
	TextNotDurableNext
	TextStopped
	TextNoGrant
	TextNoGrantNext
	TextNoSuchGrant
	TextNoSuchGrantNext
	TextGrantEnded
	TextBadForm
	TextBadFormNext
	TextUnknownDevice
	TextUnknownDeviceNext
	TextSignInFailed
	TextSignInFailedNext
	TextNoAnswer
	TextTooManyHere
	TextSetup
	TextSetupNext
	TextNotFound
	TextNotFoundNext
	TextBadRequest
	TextTryAgainNext
	TextFault

	TextLineOnline
	TextLineQueued
	TextLinePending
	TextLineOffline
	TextLineLoggedOut

	TextFree
	TextUnlimited
	TextDevices
	TextMoment
	TextLessThanMinute
	textCount
)

// texts has every text in both languages: French, English. The words are
// those that somebody with little schooling uses; what to do next is always
// said.
var texts = [textCount][languages]string{
	TextOtherLanguage: {"English", "Français"},
	TextHelp:          {"Besoin d’aide ?", "Need help?"},

	TextHomeTitle: {"Bienvenue", "Welcome"},
	TextHomeSteps: {
		"Achetez un code chez le vendeur. Tapez-le ici pour aller sur Internet.",
		"Buy a code from the seller. Type it here to go on the Internet.",
	},
	TextCode:         {"Votre code", "Your code"},
	TextCodeHint:     {"Il est écrit sur le ticket.", "It is written on the ticket."},
	TextGo:           {"Se connecter", "Connect"},
	TextPlans:        {"Les forfaits", "Plans"},
	TextNoPlans:      {"Demandez les prix au vendeur.", "Ask the seller for the prices."},
	TextWaiting:      {"Il vous reste un forfait", "You still have a plan"},
	TextContinue:     {"Continuer", "Continue"},
	TextContinueHint: {"Touchez « Continuer » pour aller sur Internet.", "Tap “Continue” to go on the Internet."},

	TextOnlineTitle:  {"Vous êtes connecté", "You are online"},
	TextOnlineHint:   {"Vous pouvez aller sur Internet.", "You can use the Internet now."},
	TextPendingTitle: {"Connexion en cours…", "Connecting…"},
	TextPendingHint: {
		"Votre forfait est bien enregistré. Attendez quelques secondes.",
		"Your plan is safe. Wait a few seconds.",
	},
	TextOfflineTitle: {"Vous n’êtes pas connecté", "You are not online"},
	TextStatusTitle:  {"Mon forfait", "My plan"},
	TextPlan:         {"Forfait", "Plan"},
	TextTimeLeft:     {"Temps restant", "Time left"},
	TextDataLeft:     {"Internet restant", "Data left"},
	TextOf:           {"sur %s", "of %s"},
	TextNoCap:        {"Sans limite", "No limit"},
	TextUsed:         {"Déjà utilisé", "Used so far"},
	TextSpeed:        {"Vitesse", "Speed"},
	TextUpTo:         {"jusqu’à %s", "up to %s"},
	TextUpToKept:     {"jusqu’à %s, dont %s réservés pour vous", "up to %s, %s of it kept for you"},
	TextLineSpeed:    {"celle de la ligne", "that of the line"},
	TextEnds:         {"Fin", "Ends"},
	TextNotStarted:   {"Pas encore commencé", "Not started yet"},
	TextQueue:        {"Ensuite", "Next"},
	TextQueued: {
		"Votre nouveau forfait est gardé. Il commencera tout seul quand l’autre sera fini.",
		"Your new plan is kept. It starts by itself after this one.",
	},
	TextMoved:  {"Votre forfait est maintenant sur ce téléphone.", "Your plan is now on this phone."},
	TextLogout: {"Se déconnecter", "Disconnect"},
	TextLogoutTimeStops: {
		"Le temps s’arrête quand vous êtes déconnecté.",
		"The time stops while you are disconnected.",
	},
	TextLogoutTimeRuns: {
		"Le temps continue même si vous êtes déconnecté.",
		"The time goes on even while you are disconnected.",
	},
	TextAddTitle: {"Ajouter un autre code", "Add another code"},
	TextAddHint: {
		"Il commencera tout seul après votre forfait.",
		"It starts by itself after your plan.",
	},
	TextAdd:       {"Ajouter", "Add"},
	TextBack:      {"Retour à mon forfait", "Back to my plan"},
	TextKeepTitle: {"Changer de téléphone ?", "New phone?"},
	TextKeepHint: {
		"Tapez le même code sur l’autre téléphone. Ou gardez cette adresse secrète et ouvrez-la sur l’autre téléphone :",
		"Type the same code on the other phone. Or keep this address secret and open it on the other phone:",
	},

	TextElsewhereTitle: {"Ce forfait est sur un autre téléphone", "This plan is on another phone"},
	TextElsewhereHint: {
		"Vous pouvez le mettre sur ce téléphone. L’autre téléphone peut alors être déconnecté.",
		"You can bring it to this phone. The other phone may then be disconnected.",
	},
	TextMoveHere: {"Mettre mon forfait ici", "Bring my plan here"},

	TextHaveTitle: {"Vous avez déjà un forfait ?", "Do you already have a plan?"},
	TextHaveHint: {
		"S’il reste quelque chose sur ce téléphone, touchez « Continuer ».",
		"If something is left on this phone, tap “Continue”.",
	},
	TextOpenAnyPage: {
		"Ouvrez une page Internet : la page de connexion reviendra.",
		"Open any web page: the sign-in page comes back.",
	},

	TextPay:       {"Payer par mobile money", "Pay by mobile money"},
	TextPayTitle:  {"Paiement mobile", "Mobile payment"},
	TextPayNumber: {"Votre numéro mobile money", "Your mobile money number"},
	TextPayNumberHint: {
		"Tapez le numéro qui paie. Exemple : %s",
		"Type the number that pays. Example: %s",
	},
	TextPayNow:      {"Payer %s", "Pay %s"},
	TextPayBack:     {"Retour aux forfaits", "Back to the plans"},
	TextPayUnderWay: {"Un paiement est en cours", "A payment is under way"},
	TextPaySee:      {"Voir mon paiement", "See my payment"},
	TextPayOffline: {
		"Pas de paiement mobile en ce moment : la borne WiFi n’a pas de connexion. Les codes du vendeur marchent.",
		"No mobile payment right now: the WiFi box has no connection. Codes from the seller work.",
	},
	TextPayNoPages: {
		"Pas de paiement mobile ici : ce WiFi ne peut pas ouvrir la page de paiement. Les codes du vendeur marchent.",
		"No mobile payment here: this WiFi cannot open the payment page. Codes from the seller work.",
	},
	TextPayAway:     {"Le paiement mobile ne répond pas en ce moment.", "Mobile payment does not answer right now."},
	TextPayAwayNext: {"Essayez plus tard, ou achetez un code chez le vendeur.", "Try later, or buy a code from the seller."},
	TextPayStarting: {"Le paiement commence…", "The payment starts…"},
	TextPayWait:     {"Attendez quelques secondes.", "Wait a few seconds."},
	TextPayConfirm:  {"Confirmez sur votre téléphone", "Confirm on your phone"},
	TextPayConfirmHint: {
		"Un message arrive sur ce numéro. Tapez-y votre code secret mobile money. Cette page change toute seule.",
		"A message comes to that number. Type your mobile money PIN there. This page changes by itself.",
	},
	TextPayThere: {"Payez sur la page de paiement", "Pay on the payment page"},
	TextPayThereHint: {
		"Payez là-bas, puis revenez sur cette page.",
		"Pay there, then come back to this page.",
	},
	TextPayOpenPage: {"Ouvrir la page de paiement", "Open the payment page"},
	TextPayLong: {
		"Pas encore confirmé. Ne payez pas une deuxième fois. Vous pouvez partir : votre code marchera dès que le paiement sera confirmé.",
		"Not confirmed yet. Do not pay again. You may leave: your code will work as soon as the payment is confirmed.",
	},
	TextPayCodeHint: {
		"Notez-le. Il marche après le paiement, aussi sur un autre téléphone.",
		"Write it down. It works after the payment, on another phone too.",
	},
	TextPaid: {"J’ai payé", "I have paid"},
	TextPayReview: {
		"De l’argent est arrivé, mais pas la bonne somme",
		"Money came, but not the right amount",
	},
	TextPayRefunded: {"Le paiement a été remboursé", "The payment was sent back"},
	TextPayReceived: {"Paiement reçu", "Payment received"},
	TextPayFailed:   {"Le paiement n’a pas marché", "The payment did not work"},
	TextPayCanceled: {"Le paiement est annulé", "The payment was cancelled"},
	TextPayNothing:  {"Rien n’a été payé.", "Nothing was charged."},
	TextPayExpired:  {"Toujours pas de réponse", "Still no answer"},
	TextPayExpiredHint: {
		"Nous cherchons encore. Si vous avez payé, votre code marchera.",
		"We keep looking. If you paid, your code will work.",
	},
	TextPayAgain:       {"Je n’ai pas payé : essayer encore", "I have not paid: try again"},
	TextPayNumberWrong: {"Ce numéro n’est pas juste.", "This number is not right."},
	TextPayNumberNext:  {"Tapez un numéro comme %s.", "Type a number like %s."},
	TextPayWay:         {"Comment voulez-vous payer ?", "How do you want to pay?"},
	TextPayWayNext:     {"Choisissez dans la liste.", "Choose from the list."},
	TextPayOther:       {"Ce numéro est peut-être chez %s.", "This number may belong to %s."},
	TextPayOtherNext: {
		"Si votre choix est juste, touchez « Payer » encore une fois.",
		"If your choice is right, tap “Pay” once more.",
	},
	TextPayLater: {"Trop de paiements commencés.", "Too many payments were started."},
	TextPayTaken: {"Un paiement est déjà en cours avec ce numéro.", "A payment with this number is under way already."},
	TextPayTakenNext: {
		"Ne payez pas une deuxième fois. Tapez le code de ce paiement, ou attendez quelques minutes.",
		"Do not pay again. Type the code of that payment, or wait a few minutes.",
	},
	TextPayNotYet: {"Le paiement de ce code n’est pas encore confirmé.", "The payment of this code is not confirmed yet."},
	TextPayNotYetNext: {
		"Ne payez pas une deuxième fois. Essayez ce code encore dans une minute.",
		"Do not pay again. Try this code again in a minute.",
	},

	TextConfirmMove: {"Oui, l’utiliser sur ce téléphone", "Yes, use it on this phone"},
	TextGoPortal:    {"Aller à la page de connexion", "Go to the sign-in page"},

	TextTryAgain: {"Essayer encore", "Try again"},

	TextEmpty:     {"Le code manque.", "The code is missing."},
	TextEmptyNext: {"Tapez le code qui est écrit sur le ticket.", "Type the code that is written on the ticket."},
	TextWrong:     {"Ce code n’est pas juste.", "This code is not right."},
	TextWrongNext: {
		"Regardez bien le ticket et tapez le code encore une fois.",
		"Look at the ticket and type the code once more.",
	},
	TextPassword: {"Le mot de passe ne va pas avec ce code.", "The password does not go with this code."},
	TextPasswordNext: {
		"Si votre ticket a un mot de passe, écrivez le code, une virgule, puis le mot de passe.",
		"If your ticket has a password, type the code, a comma, then the password.",
	},
	TextTooLong: {"Ce code est trop long.", "This code is too long."},
	TextForeign: {"Ce code est pour une autre zone WiFi.", "This code is for another WiFi zone."},
	TextForeignNext: {
		"Vérifiez le code. S’il est juste, utilisez-le là où vous l’avez acheté.",
		"Check the code. If it is right, use it where you bought it.",
	},
	TextUsedUp:      {"Ce code est déjà utilisé et il est fini.", "This code was used and nothing is left of it."},
	TextUsedUpNext:  {"Achetez un nouveau code chez le vendeur.", "Buy a new code from the seller."},
	TextExpired:     {"La date de ce code est passée.", "This code is out of date."},
	TextExpiredNext: {"Montrez le ticket au vendeur.", "Show the ticket to the seller."},
	TextRevoked:     {"Le vendeur a annulé ce code.", "The seller has cancelled this code."},
	TextRevokedNext: {"Montrez le ticket au vendeur.", "Show the ticket to the seller."},
	TextOtherDevice: {"Ce code est utilisé sur un autre téléphone.", "This code is in use on another phone."},
	TextOtherDeviceNext: {
		"Voulez-vous l’utiliser ici ? L’autre téléphone sera déconnecté.",
		"Do you want to use it here? The other phone will be disconnected.",
	},
	TextTooMany:       {"Trop de codes faux.", "Too many wrong codes."},
	TextTooOften:      {"Connexion et déconnexion trop souvent.", "Connected and disconnected too often."},
	TextMovedRecently: {"Ce forfait vient de changer de téléphone.", "This plan has just changed phones."},
	TextWaitNext:      {"Attendez %s, puis essayez encore.", "Wait %s, then try again."},
	TextNotDurable: {
		"La borne WiFi ne peut pas enregistrer les codes en ce moment.",
		"The WiFi box cannot save codes right now.",
	},
	TextNotDurableNext: {
		"Votre code n’est pas perdu. Prévenez le vendeur et essayez plus tard.",
		"Your code is not lost. Tell the seller and try later.",
	},
	TextStopped:         {"La borne WiFi redémarre.", "The WiFi box is restarting."},
	TextNoGrant:         {"Il ne reste rien sur ce téléphone.", "Nothing is left on this phone."},
	TextNoGrantNext:     {"Achetez un code et tapez-le ici.", "Buy a code and type it here."},
	TextNoSuchGrant:     {"Cette adresse n’est pas juste.", "This address is not right."},
	TextNoSuchGrantNext: {"Tapez plutôt votre code ici.", "Type your code here instead."},
	TextGrantEnded:      {"Ce forfait est terminé.", "This plan has ended."},
	TextBadForm:         {"Cette page est trop vieille.", "This page is too old."},
	TextBadFormNext:     {"Revenez à la page de connexion et essayez encore.", "Go back to the sign-in page and try again."},
	TextUnknownDevice:   {"La borne WiFi ne voit pas votre téléphone.", "The WiFi box does not see your phone."},
	TextUnknownDeviceNext: {
		"Coupez le WiFi de votre téléphone, remettez-le, puis essayez encore.",
		"Turn the WiFi of your phone off and on, then try again.",
	},
	TextSignInFailed: {"La connexion n’a pas marché.", "The connection did not work."},
	TextSignInFailedNext: {
		"Touchez « Continuer », ou tapez votre code encore une fois.",
		"Tap “Continue”, or type your code once more.",
	},
	TextNoAnswer:     {"La borne WiFi attend une réponse qui ne vient pas.", "The WiFi box waits for an answer that does not come."},
	TextTooManyHere:  {"Trop d’essais sur ce WiFi.", "Too many attempts on this WiFi."},
	TextSetup:        {"Cette borne WiFi n’est pas bien réglée.", "This WiFi box is not set up right."},
	TextSetupNext:    {"Prévenez le vendeur.", "Tell the seller."},
	TextNotFound:     {"Cette page n’existe pas.", "This page does not exist."},
	TextNotFoundNext: {"Allez à la page de connexion.", "Go to the sign-in page."},
	TextBadRequest:   {"La borne WiFi n’a pas compris.", "The WiFi box did not understand."},
	TextTryAgainNext: {"Essayez encore dans un moment.", "Try again in a moment."},
	TextFault:        {"Un problème est arrivé.", "Something went wrong."},

	TextLineOnline:    {"Vous êtes connecté. Il reste %s.", "You are online. %s left."},
	TextLineQueued:    {"Vous êtes connecté. Le nouveau forfait commencera après. Il reste %s.", "You are online. The new plan starts afterwards. %s left."},
	TextLinePending:   {"Votre forfait est enregistré. La connexion arrive dans quelques secondes.", "Your plan is safe. The connection comes in a few seconds."},
	TextLineOffline:   {"Vous n’êtes pas connecté. Il reste %s.", "You are not online. %s left."},
	TextLineLoggedOut: {"Vous êtes déconnecté.", "You are disconnected."},

	TextFree:           {"Gratuit", "Free"},
	TextUnlimited:      {"Internet sans limite", "No data limit"},
	TextDevices:        {"%d\u00a0téléphones", "%d\u00a0phones"},
	TextMoment:         {"le %02d/%02d à %02d:%02d", "%02d/%02d at %02d:%02d"},
	TextLessThanMinute: {"moins d’une minute", "less than a minute"},
}
