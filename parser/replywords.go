package parser

import (
	"strings"
	"unicode/utf8"
)

// What mail programs put around a quoted message, in their languages and in lower case.
var (
	fromNames = []string{
		"from", "von", "de", "da", "van", "från", "od", "fra", "от", "від", "mittente", "lähettäjä", "feladó", "gönderen", "发件人", "寄件者", "差出人",
		"送信者", "보낸 사람", "מאת", "من", "αποστολή", "από", "expéditeur", "remitente", "absender", "afzender", "avsändare", "afsender", "avsender",
		"kimden", "de la", "expeditor", "nuo", "saatja", "từ", "dari", "จาก", "寄件人", "보낸이",
		"daripada", "šalje", "از", "प्रेषक", "отправитель", "보낸사람", "frá", "од", "nga", "kimdən",
	}

	otherNames = []string{
		"sent", "date", "to", "subject", "cc", "reply-to", "gesendet", "datum", "an", "betreff", "kopie", "envoyé", "à", "objet", "date d'envoi",
		"copie à", "sujet", "enviado", "para", "asunto", "fecha", "enviado el", "inviato", "a", "oggetto", "data", "verzonden", "aan", "onderwerp",
		"skickat", "till", "ämne", "assunto", "enviada em", "sendt", "emne", "til", "dato", "lähetetty", "vastaanottaja", "aihe", "wysłano", "do", "temat",
		"odesláno", "komu", "předmět", "отправлено", "кому", "тема", "дата", "надіслано", "küldve", "címzett", "tárgy", "trimis", "către", "subiect",
		"gönderme tarihi", "kime", "konu", "发送时间", "收件人", "主题", "日期", "寄件日期", "收件者", "主旨", "送信日時", "宛先", "件名", "日付", "보낸 날짜", "받는 사람", "제목",
		"to cc", "copy", "copie", "envoye", "bcc", "kopi", "kopia", "kopie", "kopio", "copia", "cópia", "dw", "udw", "enviada", "responder a", "répondre à",
		"antwort an", "enviat", "per a", "assumpte", "odoslané", "predmet", "poslano", "poslato", "za", "prima", "zadeva", "изпратено", "до", "относно", "копия", "копія",
		"elküldve", "másolatot kap", "trimis la", "data trimiterii", "gönderildi", "gönderilme tarihi", "bilgi", "στάλθηκε", "ημερομηνία", "προς", "θέμα", "κοιν",
		"נשלח", "תאריך", "אל", "נושא", "עותק", "تم الإرسال", "إرسال", "التاريخ", "إلى", "الموضوع", "نسخة", "išsiųsta", "kam", "saadetud", "adressaat", "teema", "nosūtīts", "temats",
		"ngày gửi", "đã gửi", "ngày", "đến", "chủ đề", "dikirim", "tanggal", "kepada", "subjek", "perihal", "ส่ง", "วันที่", "ถึง", "เรื่อง", "抄送", "发件日期", "副本", "傳送時間", "日期時間",
		"寄件時間", "參照", "收件時間", "보낸 시간", "날짜", "참조", "받는이", "日時", "送信日", "宛名",
		"thema", "dihantar", "kellele", "naslov", "destinataire", "destinatario", "destinatário", "empfänger", "ontvanger", "ارسال شده", "به", "موضوع", "تاریخ",
		"भेजा गया", "प्रति", "विषय", "получатель", "보낸날짜", "받는사람", "efni", "afrit", "испратено", "послато", "за", "предмет", "копија",
		"dërguar", "për", "göndərilib", "kimə", "mövzu",
	}

	// Between dashes.
	originalWords = set("original message", "original-nachricht", "ursprüngliche nachricht", "originalnachricht", "urspr. nachricht", "message d'origine",
		"message d’origine", "message original", "mensaje original", "messaggio originale", "mensagem original", "oorspronkelijk bericht", "forwarded message",
		"weitergeleitete nachricht", "original appointment", "ursprünglicher termin", "reply message", "ursprungligt meddelande", "originalmeddelande",
		"oprindelig meddelelse", "oprindelig besked", "opprinnelig melding", "alkuperäinen viesti", "wiadomość oryginalna", "oryginalna wiadomość",
		"původní zpráva", "pôvodná správa", "eredeti üzenet", "mesaj original", "mesajul original", "orijinal mesaj", "özgün i̇leti", "исходное сообщение",
		"пересылаемое сообщение", "исходное письмо", "оригінальне повідомлення", "原始邮件", "原始郵件", "转发邮件信息", "元のメッセージ", "original message follows",
		"원본 메일", "원본 메시지", "message transféré", "mensaje reenviado", "messaggio inoltrato", "mensagem encaminhada", "doorgestuurd bericht",
		"vidarebefordrat meddelande", "videresendt meddelelse", "quoted message", "original email", "original", "αρχικό μήνυμα", "הודעה מקורית",
		"הודעה שהועברה", "الرسالة الأصلية", "orijinal ileti", "оригинално съобщение", "izvorna poruka", "izvirno sporočilo", "originalna poruka", "thư gốc", "tin nhắn gốc",
		"pesan asli", "ข้อความต้นฉบับ", "missatge original", "algkiri", "originali žinutė", "sākotnējais ziņojums", "원본 이메일", "전달된 메시지", "原始信件", "轉寄郵件", "转发的邮件",
		"轉寄的郵件", "転送メッセージ", "videresendt melding", "przekazana wiadomość", "wiadomość przekazana", "přeposlaná zpráva", "preposlaná správa", "továbbított üzenet",
		"mesaj redirecționat", "iletilen mesaj", "пересланное сообщение", "переслане повідомлення")

	forwardWords = byFirst(
		"begin forwarded message:", "anfang der weitergeleiteten", "début du message", "inicio del mensaje reenviado", "inizio messaggio inoltrato",
		"início da mensagem", "begin doorgestuurd bericht", "vidarebefordrat brev:", "start på videresendt", "początek przekazywanej", "начало переадресованного",
		"videresendt melding:", "začátek přeposílané zprávy", "továbbított levél kezdete", "iletilen ileti başlangıcı", "以下是转发的邮件", "开始转发的邮件", "転送されたメッセージ",
		"전달된 메시지:")

	// Between marks, in a notice of a ticket system: what is answered to it stands above them.
	aboveWords = []string{
		"above this line", "oberhalb dieser zeile", "oberhalb dieser linie", "über dieser zeile", "au-dessus de cette ligne", "por encima de esta línea", "sopra questa riga",
		"boven deze regel", "boven deze lijn", "acima desta linha",
	}

	// Below a message.
	sentWords = byFirst(
		"sent from ", "sent via ", "sent with ", "sent using ", "sent by ", "from my iphone", "from my ipad", "from my android", "from my mobile", "get outlook for ",
		"get [outlook for ", "envoyé de ", "envoyé depuis ", "envoyé à partir ", "envoyé avec ", "enviado desde ", "enviado do ", "enviada do ", "enviado de ",
		"enviado con ", "inviato da ", "inviato con ", "von meinem ", "von unterwegs ", "gesendet von ", "gesendet mit ", "gesendet über ", "gesendet aus ",
		"diese nachricht wurde von mei", "verzonden van", "verzonden met ", "verzonden via ", "verstuurd van", "skickat från ", "skickat med ", "sendt fra ",
		"sendt med ", "wysłane z ", "wysłano z ", "wysłano z mojego", "odesláno z ", "odoslané z ", "lähetetty ", "отправлено с ", "отправлено из ", "надіслано з ",
		"trimis de pe ", "küldve ", "发自我的", "發自我的", "從我的", "iphoneから", "someone from mobile", "obtenir outlook", "obtener outlook", "holen sie sich outlook",
		"outlook für ", "download outlook", "scarica outlook", "baixe o outlook", "skaffa outlook", "hent outlook", "pobierz outlook", "enviat des d", "poslano s ", "poslano z ",
		"poslato sa ", "изпратено от ", "στάλθηκε από ", "נשלח מ", "أرسلت من ", "أُرسلت من ", "đã gửi từ ", "được gửi từ ", "dikirim dari ", "dihantar daripada ", "ส่งจาก",
		"išsiųsta iš ", "saadetud minu ", "nosūtīts no ", "发送自 ", "傳送自 ",
		"получить outlook", "отримати outlook", "hanki outlook", "lataa outlook", "získat outlook", "získajte outlook", "télécharger outlook", "descarga outlook", "obter o outlook",
		"hämta outlook", "skaff deg outlook", "outlook voor ", "pobierz program outlook", "preuzmite outlook", "获取 outlook", "取得 outlook", "outlook for ios を",
		"outlook for android を", "provenance : courrier")

	sentEnds = byLast(" gesendet", "gesendet.", "傳送", "发送", "から送信", "에서 보냄", "gönderildi", " küldve", "용 Outlook 받기", "için Outlook'u edinin")

	// The same, and nothing else.
	deviceWords = byFirst("sent from my ", "get outlook for ", "envoyé de mon ", "enviado desde mi ", "inviato da iphone", "inviato dal mio ")

	// Before the date or the name.
	openWords = byFirst(
		"on ", "am ", "le ", "el ", "il ", "em ", "op ", "den ", "dnia ", "w dniu ", "pe ", "vào ", "в ", "在 ", "at ", "à la date du", "dne ", "a ", "ons", "tor",
		"man", "tir", "fre", "lør", "søn", "no dia ", "in data ", "у ", "за ", "na ", "pada ", "στις ", "în ", "на ", "בתאריך ", "في ",
		"در تاریخ", "missatge de", "wiadomość napisana przez", "zitat von", "quoting")

	// Between the date and the name.
	verbWords = byFirst(
		"schrieb ", "schreef ", "skrev ", "napisał", "wrote ", "kirjoitti ", "написал", "escribió ", "a écrit ", "ha scritto ", "escreveu ", "пишет ")

	// Behind them.
	wroteWords = byLast(
		"wrote", "writes", "schrieb", "schrieben", "geschrieben", "a écrit", "escribió", "escribio", "ha scritto", "escreveu", "schreef", "skrev", "skrev følgende",
		"napisał", "napisał(a)", "napisała", "написал", "написала", "написал(а)", "пишет", "написав", "said", "kirjoitti", "yazdı", "şunu yazdı", "のメッセージ",
		"より", "写道", "寫道", "geschreven", "napsal", "napsal(a)", "napísal", "a scris", "írta", "έγραψε", "đã viết", "작성", "님이 작성", "כתב", "كتب",
		"pisze", "пише", "napísala", "napísal(a)", "napsala", "va escriure", "ha escrit", "menulis", "написа", "je napisao", "je napisala", "je napisao/la", "napisao/la",
		"је написао", "je pisal", "je napisal", "rašė", "rakstīja", "kirjutas", "schrijft", "skriver", "scrive", "escribe", "escreve", "写到", "כתבה", "님이 쓴 글", "เขียนว่า", "さんは書きました", "نوشت", "نوشته است", "ने लिखा", "schreef het volgende",
		"het volgende geschreven", "skrev så här", "a écrit ce qui suit", "escribió lo siguiente")
)

// awayWords are how Exchange and Domino start the subject of an answer for somebody who is away.
var awayWords = byFirst(
	"automatic reply:", "out of office", "automatische antwort:", "abwesend:", "abwesenheitsnotiz", "réponse automatique", "absence du bureau", "respuesta automática:", "fuera de la oficina",
	"risposta automatica:", "fuori sede", "resposta automática:", "automatisch antwoord:", "afwezig:", "automatiskt svar:", "automatisk svar:", "autosvar:", "frånvaro:", "automaattinen vastaus:",
	"odpowiedź automatyczna:", "automatická odpověď:", "automatická odpoveď:", "automatikus válasz:", "răspuns automat:", "otomatik yanıt:", "автоматический ответ:",
	"автоматична відповідь:", "αυτόματη απάντηση:", "自动答复:", "自动回复:", "自動回覆:", "自動応答:", "자동 회신:", "תגובה אוטומטית:", "رد تلقائي:", "auto: ",
	"resposta automàtica:", "automatski odgovor:", "samodejni odgovor:", "автоматичен отговор:", "automaatvastus:", "automātiska atbilde:", "automatinis atsakymas:", "balasan otomatis:",
	"balasan automatik:", "trả lời tự động:", "การตอบกลับอัตโนมัติ:", "ตอบกลับอัตโนมัติ:", "پاسخ خودکار:", "स्वचालित उत्तर:")

// quotedKind says what a field of a quoted message is.
type quotedKind int

const (
	quotedNone quotedKind = iota
	quotedFrom
	quotedOther
	quotedOpening // it starts a block, but is no name that all mail programs use
)

var quotedNames = func() map[string]quotedKind {
	kinds := map[string]quotedKind{"message du": quotedOpening}
	for _, name := range otherNames {
		kinds[name] = quotedOther
	}
	for _, name := range fromNames {
		kinds[name] = quotedFrom
	}
	return kinds
}()

// wordStarts holds words by what they start with.
type wordStarts struct {
	ascii [256][]string // by pair, if the first two bytes are ASCII
	other [256][]string // by the first byte; one that is no ASCII letter can have two cases, so it stands under both
}

// pair puts the first two bytes of a word in one, whatever their case. Few pairs share one.
func pair(word string) byte { return (word[0]|0x20)<<3 ^ (word[1] | 0x20) }

func byFirst(words ...string) *wordStarts {
	list := new(wordStarts)
	for _, word := range words {
		if max(word[0], word[1]) < utf8.RuneSelf {
			list.ascii[pair(word)] = append(list.ascii[pair(word)], word)
			continue
		}
		list.other[word[0]] = append(list.other[word[0]], word)
		if upper := strings.ToUpper(word); upper[0] != word[0] {
			list.other[upper[0]] = append(list.other[upper[0]], word)
		}
	}
	return list
}

// wordEnds holds words by their last byte, in the case in which they are written.
type wordEnds [256][]string

func byLast(words ...string) *wordEnds {
	list := new(wordEnds)
	for _, word := range words {
		last := word[len(word)-1]
		list[last] = append(list[last], word)
	}
	return list
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
