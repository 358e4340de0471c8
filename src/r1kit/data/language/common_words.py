"""Frequent words of languages that share a script, in ordinary and in mathematical text.

A few of them identify a sentence that is too short for statistics of letters. A word may be common in several
languages. An apostrophe separates words here, as it does in a text, and a word of one ASCII letter does
not count: it is a variable.
"""

from __future__ import annotations

_WORDS = {
    "en": "the of and to in is are was were be been it its that this these those for with as at by on or not no from "
    "an we you he she they them their his her our your my me us have has had do does did will would can could should "
    "must may let if then so but because since when where which who what how why than there here also only more less "
    "each every all any some one two three first second next now again wait hmm okay ok yes well right wrong actually "
    "maybe therefore thus hence use using add subtract multiply divide sum difference product equals equal number "
    "numbers find solve compute calculate factor expand substitute substituting square root triangle angle symmetry "
    "claim check recheck verify answer question problem step total many much get gets gives give take think know need "
    "means same both after before note however alternatively into out up over under between about just like make "
    "makes true false write show prove simplify evaluate determine consider suppose assume start try see look done "
    "good sure per let's don't doesn't isn't didn't divided times half twice remainder left still",
    "de": "der die das und ist sind ein eine einen einem einer eines nicht mit von zu zum zur den dem des im in auf "
    "für an als auch es er sie wir ich ihr man sich werden wird wurde haben hat habe kann können muss müssen soll "
    "wenn dann also aber oder weil denn dass wie was wer wo welche welcher wieviel viele jetzt nun nur noch schon "
    "mehr aus bei nach vor über unter zwischen durch um bis ja nein moment warte zuerst erst zunächst daher deshalb "
    "somit folglich gilt sei ergibt erhalten addieren addiere subtrahieren berechne berechnen bestimme löse lösen "
    "summe zahl zahlen gleich ergebnis antwort lösung prüfen frage aufgabe stimmt richtig falsch zwei drei vier beide "
    "beiden alle diese dieser dieses gibt nochmal",
    "fr": "le la les un une des du de et est sont à au aux en dans pour par sur avec sans que qui quoi ce cette ces "
    "cet il elle ils elles nous vous je on ne pas plus ou où mais donc car si alors comme aussi être avoir avons a "
    "ont fait faut peut peuvent doit son sa ses leur leurs notre tout tous toute toutes deux trois premier d'abord "
    "ensuite puis enfin maintenant attendez attention ainsi soit somme nombre nombres égal égale vaut calcule "
    "calculer calculons calculez trouver trouvons trouve résoudre résous vérifions vérifier réponse question résultat "
    "combien quel quelle quels encore moins entre très bien c'est l'on n'est d'un d'une qu'il additionnons ajoutons "
    "obtient oui non même autre parce",
    "es": "el la los las un una unos unas de del y es son en para por con sin que qué quien como cómo este esta estos "
    "estas esto eso ese no más menos pero porque si sí entonces cuando donde también ser está están hay tiene tienen "
    "se su sus lo le al nos nosotros yo él ella dos tres primero luego después ahora espera así pues suma número "
    "números igual calcula calcular calculamos encuentra encontrar halla resuelve resolver sumamos respuesta pregunta "
    "resultado cuánto cuántos cuántas cuál debe puede podemos todo todos cada otra otro ya muy bien hacer tanto "
    "tenemos obtenemos comprobamos verificamos según entre sobre segundo",
    "pt": "o os as um uma uns umas de do da dos das e é são em no na nos nas para por pelo pela com sem que quem como "
    "este esta isto isso esse essa não mais menos mas porque se sim então quando onde também ser está estão há tem "
    "têm seu sua seus suas ao aos nós eu ele ela eles dois duas três primeiro depois agora espere assim pois portanto "
    "soma número números igual calcule calcular calculamos encontre encontrar resolva resolver somamos resposta "
    "pergunta resultado quanto quantos quantas qual deve pode podemos todo todos cada outra outro já muito bem fazer "
    "logo temos obtemos verificamos verificar segundo sobre até",
    "it": "il lo la gli le un uno una di del della dei delle dello da dal dalla in nel nella con su per tra fra che "
    "chi cosa come questo questa questi queste quello non più meno ma perché se sì allora quando dove anche essere è "
    "sono ha hanno si suo sua loro al alla ai noi io lui lei ci due tre primo prima poi dopo adesso ora aspetta così "
    "quindi dunque somma numero numeri uguale calcola calcolare calcoliamo trova trovare risolvi risolvere sommiamo "
    "risposta domanda risultato quanto quanti quante quale deve può possiamo tutto tutti ogni altra altro già molto "
    "bene fare abbiamo otteniamo verifichiamo secondo perciò",
    "nl": "de het een en is zijn van in op te aan met voor door om bij uit over naar dat die dit deze niet geen er we "
    "wij je ik hij zij ze ons onze hun wordt worden heeft hebben kan kunnen moet moeten zal als dan dus maar of omdat "
    "want wat wie waar hoe hoeveel ook nog al nu meer minder eerst daarna vervolgens wacht even som getal getallen "
    "gelijk bereken berekenen los oplossen vind vinden tellen antwoord vraag resultaat controleren klopt twee drie "
    "beide alle elke tweede welke krijgen geeft",
    "sv": "och att det som en ett är av för på med till den de har inte om var vi han hon jag man ska kan måste blir "
    "från men eller när så här där vad hur många mycket nu då också bara mer mindre först sedan vänta alltså därför "
    "summan summa tal talet talen lika beräkna lös hitta svar svaret frågan resultat kontrollera två tre båda alla "
    "varje andra ihop lägger får igen",
    "da": "og at det som en et er af for på med til den de har ikke om var vi han hun jeg man skal kan må bliver fra "
    "men eller når så her der hvad hvor hvordan mange meget nu også kun mere mindre først derefter vent altså derfor "
    "summen sum tal tallet tallene lig beregn løs find svar svaret spørgsmål resultat tjek to tre begge alle hver "
    "anden lægger får igen sammen",
    "no": "og at det som en et er av for på med til den de har ikke om var vi han hun jeg man skal kan må blir fra "
    "men eller når så her der hva hvor hvordan mange mye nå også bare mer mindre først deretter vent altså derfor "
    "summen sum tall tallet tallene lik beregn løs finn svar svaret spørsmål resultat sjekk to tre begge alle hver "
    "andre legger får igjen sammen",
    "fi": "ja on ei se että joka mutta tai jos niin kun kuin myös olla ovat oli tämä nämä ne me hän minä sinä voi "
    "voidaan pitää sitten nyt ensin hetkinen siis joten koska mikä mitä kuinka monta paljon vain enemmän vähemmän "
    "luku lukua luvut luvun summa summan yhtä laske laskemme ratkaise etsi vastaus kysymys tulos tarkista kaksi kolme "
    "kaikki jokainen toinen yhteen uudelleen vielä",
    "pl": "jest są nie to się na do że ale lub albo jeśli gdy oraz dla od po przez przed przy za co kto jak ile czy "
    "który która które ten ta te tego tej tych mamy ma mają może można trzeba musi być był już jeszcze tylko też więc "
    "zatem czyli ponieważ teraz najpierw potem chwila poczekaj suma sumę liczba liczby liczb liczbę równa równe "
    "oblicz obliczyć obliczamy rozwiąż znajdź dodaj dodajemy odpowiedź pytanie wynik sprawdźmy sprawdź dwa dwie trzy "
    "obie wszystkie każdy druga drugi mniej więcej raz",
    "cs": "je jsou není ne to se na do že ale nebo pokud když pro od po před při za co kdo jak kolik který která "
    "které ten ta ti tento má mají máme může musí být byl už ještě jen také tedy proto protože teď nyní nejprve pak "
    "potom počkat počkej součet číslo čísla čísel rovná vypočítej vypočítejte spočítej vyřeš najdi najděte sečteme "
    "odpověď otázka výsledek zkontrolujme dva dvě tři obě všechny každý druhé druhý méně více jednou takže bude",
    "sk": "je sú nie to sa na do že ale alebo ak keď pre od po pred pri za čo kto ako koľko ktorý ktorá ktoré ten tá "
    "tie tento má majú máme môže musí byť bol už ešte len tiež teda preto pretože teraz najprv potom počkať počkaj "
    "súčet číslo čísla čísel rovná vypočítaj vypočítajte vyrieš nájdi nájdite sčítame odpoveď otázka výsledok "
    "skontrolujme dva dve tri obe všetky každý druhé druhý menej viac takže bude",
    "hr": "je su nije ne to se na do da ali ili ako kad kada za od po pred pri što tko kako koliko koji koja koje taj "
    "ta ovaj ima imaju imamo može mora biti bio već još samo također dakle stoga zato jer sada prvo zatim onda čekaj "
    "zbroj suma broj brojevi brojeva jednako izračunaj riješi nađi zbrajamo odgovor pitanje rezultat provjerimo dva "
    "dvije tri oba svi svaki drugi manje više opet",
    "ro": "este sunt nu la de în din cu pe pentru prin că care ce cine cum cât câte și sau dar dacă când unde un una "
    "unei al ale lui acest această aceste are au avem poate trebuie fi fost mai doar deci atunci acum întâi apoi "
    "așteaptă suma număr numărul numere numerele egal egală calculează calculați rezolvă găsește găsiți adunăm "
    "răspuns răspunsul întrebare rezultat verificăm două doi trei ambele toate fiecare doilea",
    "hu": "az és egy nem is van vannak hogy de vagy ha akkor mert mint csak még már ez ezt ezek azt ami aki mit mi "
    "hány mennyi hogyan meg kell lehet tehát ezért így most először majd aztán várj szám számot számok összeg összege "
    "összeget egyenlő számítsuk számold oldd add válasz kérdés eredmény ellenőrizzük két kettő három mindkét minden "
    "második kisebb nagyobb újra",
    "tr": "ve bir bu şu ile için de da ki ne mi mı mu mü ama veya eğer ise çünkü daha çok en az gibi kadar sonra önce "
    "şimdi dakika var yok değil olur olarak olan olduğu olduğundan öyleyse yani böylece toplam toplamı sayı sayının "
    "sayıyı sayılar eşit eşittir hesapla hesaplayalım çöz bul bulalım bulunuz toplayalım topluyoruz cevap soru sonuç "
    "kontrol edelim iki üç her tüm ikinci kaç kaçtır nedir hangi tekrar",
    "id": "yang dan di ke dari untuk dengan pada adalah ini itu tidak ada akan atau jika maka karena kita kami saya "
    "dia mereka kamu bisa dapat harus sudah juga hanya lebih kurang sekarang pertama kemudian lalu tunggu jadi oleh "
    "sehingga jumlah jumlahnya bilangan angka sama hitung hitunglah tentukan selesaikan cari carilah jawaban "
    "jawabannya pertanyaan hasil hasilnya periksa dua tiga kedua semua setiap berapa apa bagaimana lagi",
    "vi": "và là của có không được cho với các một những này đó thì mà nếu vì nên khi như cũng đã đang sẽ phải cần ta "
    "chúng tôi bạn số hai ba tổng bằng tính tìm giải cộng trừ nhân chia kết quả đáp án trả lời câu hỏi trước tiên sau "
    "bây giờ vậy do đầu kiểm tra lại bao nhiêu nào gì sao hơn nhỏ lớn mỗi tất cả thứ theo từ ra vào khoan",
    "sw": "ya wa na ni kwa katika la za cha vya hii hiyo huu hizo si kama lakini au ikiwa basi kwamba sasa kwanza "
    "kisha subiri hivyo jumla namba nambari idadi sawa hesabu tafuta jibu swali matokeo mbili tatu pili zote kila "
    "ngapi nini tena zaidi",
    "ca": "el la els les un una uns unes de del dels és són en per amb sense que què qui com aquest aquesta això no "
    "més menys però perquè si llavors quan on també ser està hi ha té tenen se seu seva al nosaltres dos dues tres "
    "primer després ara espera així doncs suma nombre nombres igual calcula troba resol sumem resposta pregunta "
    "resultat quant quants quin cada altre molt",
    "gl": "os as un unha uns unhas de do da dos das é son en no na nos nas para por co coa sen que como este esta "
    "isto non máis menos pero porque se entón cando onde tamén ser está hai ten teñen seu súa ao nós dous dúas tres "
    "primeiro despois agora agarda así pois suma número números igual calcula atopa resolve resposta pregunta "
    "resultado cantos",
    "af": "die en is van in om te met vir dat nie ons jy ek hy sy hulle het kan moet sal as dan dus maar of omdat wat "
    "waar hoe hoeveel ook nog nou meer minder eers daarna wag som getal getalle gelyk bereken los vind antwoord vraag "
    "resultaat twee drie albei alle elke tweede word hierdie",
    "ru": "не на что это как по для из от до при или если то же но мы он она они вы его их так есть быть будет был "
    "все два две три тогда потому поэтому значит следовательно сначала теперь затем подождите подожди сумма сумму "
    "число чисел числа равно равна найдите найти найдем решите решим вычислите вычислим сложим ответ вопрос задача "
    "проверим получаем сколько какой который можно нужно только ещё еще уже также где когда пусть имеем верно да нет "
    "второе",
    "uk": "не на що це як по для із від до при або якщо то же але ми він вона вони ви його їх так є бути буде був всі "
    "усі два дві три тоді тому отже спочатку тепер потім зачекайте зачекай сума суму число чисел числа дорівнює "
    "знайдіть знайти розв'яжіть обчисліть обчислимо додаємо відповідь питання задача перевіримо отримуємо скільки "
    "який можна треба потрібно тільки ще вже також де коли нехай маємо та ні друге",
    "be": "не на што гэта як па для ад да пры або калі то але мы ён яна яны яго іх так ёсць быць будзе усе два дзве "
    "тры тады таму спачатку цяпер потым сума лік лікаў роўна знайдзіце рашыце адказ пытанне правяраем колькі які "
    "можна",
    "bg": "не на че това как по за от до при или ако то но ние той тя те му ги така има беше ще бъде всички два две "
    "три тогава затова защото първо сега после чакай сума сумата сборът сбор число числа числата равно намерете реши "
    "пресметнете събираме отговор отговорът въпрос проверяваме колко кой може трябва само още също са се да второто",
    "mk": "не на дека ова како по за од до при или ако но ние тој таа тие така има беше ќе биде сите два две три "
    "тогаш затоа бидејќи прво сега потоа чекај збир број броеви еднакво најдете реши пресметајте собираме одговор "
    "прашање колку кој може треба само уште исто се да",
    "sr": "не на да то је су ово како по за од до при или ако али ми он она они тако има било ће бити сви два две три "
    "тада зато јер прво сада затим чекај збир број бројеви једнако нађи реши израчунај сабирамо одговор питање колико "
    "који може мора само још такође се",
    "ar": "في من على إلى عن أن إن هذا هذه ذلك التي الذي هو هي نحن ما لا لم ثم أو إذا كان كانت يكون كل مع بين أولا "
    "الآن إذن لذلك انتظر العدد العددين مجموع المجموع يساوي احسب أوجد الجواب الناتج حل كم أي قد حيث ليكن لدينا فإن",
    "fa": "در به از که این آن است را با برای یک تا هم بر یا اگر پس ما می شود شد باید هر دو سه ابتدا حالا صبر کن عدد "
    "جمع مجموع برابر پاسخ جواب محاسبه کنید چند چیست نیست بنابراین داریم",
    "ur": "میں ہے کے کی کا کو سے اور یہ وہ نہیں ہیں پر تو جو اس ہم ایک دو تین پہلے اب پھر اگر لیے بھی عدد جمع برابر "
    "جواب کیا کتنے معلوم کریں لہذا ہوتا",
    "hi": "है हैं का के की को में से और यह वह नहीं पर तो जो इस उस हम एक दो तीन पहले अब फिर अगर यदि लिए भी संख्या "
    "संख्याओं योग बराबर उत्तर क्या कितने ज्ञात कीजिए इसलिए होता होती मान हल करें रुकिए जाता दोनों",
    "mr": "आहे आहेत आणि हे ही हा तर जर की मध्ये आपण एक दोन तीन आधी आता मग म्हणून पण नाही संख्या बेरीज उत्तर किती काय शोधा "
    "होते समान",
    "ne": "छ छन् र यो त्यो हामी हो होइन मा को का की लाई बाट दुई तीन एक पहिले अब त्यसैले यदि भने पनि संख्या सङ्ख्या योगफल "
    "बराबर उत्तर कति के पत्ता लगाउनुहोस् हुन्छ",
    # Characters that Japanese does not use, or hardly without kana; a Chinese word is one character here
    "zh": "是 你 她 它 們 们 这 這 那 哪 吗 嗎 呢 吧 啊 么 麼 沒 很 给 給 让 讓 从 從 样 樣 种 说 說 对 對 时 过 还 "
    "還 应 應 點 则 该 题 总 總 进 带 问 间 边 邊 长 减 乘 项 约 线 圆 圓 质 级 组 结 會 个 來 两 兩 积 设 记 计 论 "
    "证 验 检 查 较 经 继 续 单",
}  # fmt: skip
WITH_COMMON_WORDS = tuple(_WORDS)


def _languages_of() -> dict[str, tuple[str, ...]]:
    languages: dict[str, dict[str, None]] = {}
    for code, words in _WORDS.items():
        for word in words.replace("'", " ").split():
            if len(word) > 1 or not word.isascii():
                languages.setdefault(word, {})[code] = None
    return {word: tuple(codes) for word, codes in languages.items()}


LANGUAGES_OF = _languages_of()
"""Word -> the languages in which it is common."""
