"""Lists of words for asking and buying, by the code of their language."""

from __future__ import annotations

FILLERS = {
    "ar": "أبحث أريد أسعار أفضل بكم ثمن جديد جديدة رخيص رخيصة سعر شراء عرض عروض عندكم كم لديكم منتج منتجات هل "
    "يوجد",
    "cs": "bych bys byste cena cenu chci chtěl chtěla dobrý dostanu euro fotka hezký hledám jaké jaký ještě jsem jste "
    "kde kolik koupit kvalita levné levný levně mi mám máte mít můžete můžu nabídka nabízíte nejlepší novou nová nové "
    "nového nový něco nějakou nějaké nějakého nějaký někde objednat obrázek online potřebuji potřebuju produkt "
    "produkty prodává prodáváte prosím seženu sháním sleva stojí tady taky také ukažte velikost velmi vás více "
    "výprodej věc věci",
    "da": "bare bedste behøver bestille billede billige der dig din dine dit du efter euro finder findes fine flot "
    "foto gerne gode godt har hej her hvad hvilke hvilken hvor jeg jer kan koster kr kroner kun kunne kvalitet "
    "køb købe leder mange mangler meget mere mig nogen noget nogle nye nyt også online os pris produkt produkter "
    "skal skulle smuk størrelse sådan sælger søger tak tilbud ting under vi vil ville vis",
    "de": "alle alles angebot artikel bekomme bekommen benötige beste bestellen biete bieten bietet bild billig bis "
    "bitte brauche bräuchte da dein deine ding dinge dort du einige empfehlen empfehlt er es etwas euch eure euro "
    "finde foto führen führt geben gebt gegen gern gerne gesucht gibt größe gut gute guten guter gutes günstig habe "
    "haben habt hallo hat helfen hier hilft hätte hätten hübsch ihr jemand kann kaufen kostet können könnt könnte "
    "könnten laden mal man mehr meinem meinen meiner mir möchte möchten neu neue neuen neuer neues noch nur online "
    "preis preiswert produkt produkte qualität sache sachen schön sehr shop sie so sollte sowas suche suchen teuer "
    "toll uns unser unsere unter verkaufen verkauft viel wann warum was welche wer werden wie wieviel will wir wird "
    "wissen wo wollen würde würden zeig zeigen",
    "el": "αγοράσω αγορά αγοράζω έχετε ήθελα θέλω θα καλό καλύτερα καλύτερο κοστίζει μου νέα νέο να παρακαλώ "
    "πόσο πού προσφορά προσφορές προϊόν προϊόντα τιμή τιμές υπάρχει υπάρχουν φθηνά φθηνό φτηνά φτηνό "
    "ψάχνω",
    "en": "about afford affordable against am any anything beautiful below best better brought but buy buying buys can "
    "carries carry carrying cheap cheaper cheapest could did do does dollar dollars eu euro euros find finding "
    "finds gave give giving goes good got great has have having hello help helped helps hi how image images "
    "inexpensive interest interested into item items its just less look looked looking looks lovely many much "
    "need needed needing needs new nice nicer one ones online order ordered ordering orders our photo photos "
    "picture pictures please popular pretty price priced prices product products quality really recommend "
    "recommendation recommendations recommended recommends sale sales search searched searches searching sell "
    "selling sells shop shopping shops should show showing shows size sizes something store stores stuff suggest "
    "suggested suggestion suggestions suggests tell telling than thank thanks them there these they thing things "
    "those too uk under us very want wanted wanting wants what when where which who why will wish wishes wishing "
    "would you",
    "es": "algo alguna algunas alguno algunos algún aquí artículo artículos barato bonito bueno buscar busco calidad "
    "comprar contra cosa cosas cuesta cuestan cuál cuánto cómo disponible dónde encontrar encuentro esta este "
    "estoy euros favor foto gracias gustaría hacen hasta hay hola imagen mejor menos mi mis muy muéstrame más "
    "necesito nos nosotros nuevo oferta online podría podrías precio producto productos puede pueden puedo "
    "quería quiero quisiera qué rebajas recomiendan saber su sus talla tendría tener tengo tenéis tienda tiene "
    "tienen usted ustedes vende venden vendéis yo",
    "fi": "edullinen edullisia etsin euro halpa halpoja haluaisin haluan hei hinta hyviä hyvä kiitos koko kuva "
    "löytyykö maksaa mikä minulle missä mitä myyttekö myös onko online ostaa paljonko paras saako tarjous tarvitsen "
    "teillä tuote tuotteet tuotteita täältä uudet uusi uusia voinko voisinko",
    "fr": "acheter ai aimerais aimerait article articles auriez aussi avez avons beau beaux belle belles besoin bon "
    "bonjour bonne bonnes bons boutique ces cher cherche chose choses chère combien commander contre coûte coûtent "
    "encore euros fais faites faut ici il image j je joli jolie jusqu ligne ma magasin meilleur meilleure merci mes "
    "moi moins mon montrez nos notre nous nouveau nouvelle ont où pas peut peux photo plaît pourriez pouvez prix "
    "produit produits promo promotion proposez puis qualité que quel quelle quelles quelque quels qui recherche "
    "recommandez savoir soldes sont souhaite souhaiterais svp taille trouve trouver truc très vendent vendez veux vos "
    "votre voudrais vous y êtes",
    "he": "אפשר אני איפה בבקשה הכי זול זולה זולים חדש חדשה טוב יש כמה לכם לקנות מבצע מוצר מוצרים מחיר מחירים "
    "מחפש מחפשת עולה צריך צריכה רוצה",
    "hu": "akciós ár ára hol jó kapható kell keresek keresem kérek legjobb mennyi mennyibe kerül nekem olcsó szeretnék "
    "szép termék termékek új van vannak vásárolni venni",
    "it": "acquistare alcune alcuni anche ancora articoli articolo avere avete avrebbe avrei avreste bello bisogno "
    "buongiorno buono cerco che ci ciao come comprare consigliate contro cosa cose costa costano dove economico "
    "euro fare fate favore fino foto grazie hanno ho immagine io meno mi mia mie miei migliore mio molto "
    "mostrami negozio noi nuovo offerta online più possiamo posso potete potrei prezzo prodotti prodotto può "
    "qualche qualcosa quale quali qualità quanto qui saldi salve sapere serve servono sono sto taglia trovare "
    "vende vendete vendono vi voglio voi vorrei",
    "ja": "あります ありますか いい いくら おすすめ お勧め がありますか がほしい ください です ですか "
    "どこ はありますか ほしい ません 下さい 人気 値段 値段は 売って 売ってますか 安い "
    "探しています 探してる 教えて 欲しい 良い 見せて 買いたい 買える",
    "ko": "가격 구매 구입 사고 싶어요 싶습니다 얼마 예요 인가요 있나요 있어요 있습니까 저렴한 주세요 "
    "찾고 찾습니다 찾아요 추천 파나요 팔아요 판매 할인",
    "nb": "bare beste bestille bilde billige bra deg der dere din dine ditt du etter euro fine finner finnes fint foto "
    "gjerne gode godt har hei her hva hvilke hvilken hvor jeg kan kjøpe koster kr kroner kun kunne kvalitet "
    "leter meg mer mye noe noen nye nytt også online oss pris produkt produkter salg selger ser skal skulle slik "
    "størrelse søker takk tilbud ting trenger under vi vil ville vis",
    "nl": "aanbieding alstublieft artikel artikelen bedankt ben beste bestellen ding dingen er euro foto gezocht goed "
    "goedkoop graag hallo heb hebben hebt heeft helpt hier hoe hoeveel hun iets ik je jij jullie kopen kost "
    "kosten kunnen kunt kwaliteit laat maat mag mij mijn mooi naar nieuw nodig nog onder online onze ook prijs "
    "product producten spullen tegen toon tot u verkoopt verkopen vind vinden waar wat welke wij wil willen wilt "
    "winkel zien zij zijn zoek zou",
    "pl": "artykuł artykuły bardzo będzie cena chciałabym chciałbym chcę coś czegoś czy dobry dostać dziękuję euro "
    "gdzie ile interesuje jakaś jaki jakieś jakiś jakość jakąś jestem kosztuje kosztują kupić macie mają mam mi mnie "
    "mogę moja moje mojego można mój najlepszy nowa nowe nowy nową online państwo pokaż polecacie poniżej poszukuję "
    "potrzebna potrzebny potrzebuję produkt produkty promocja proszę przeciw przeciwko rozmiar rzecz rzeczy sklep "
    "sprzedajecie szukam ta tani tania tanie tanią te ten też tu was więcej wyprzedaż zamówić zdjęcie znajdę znaleźć "
    "zł ładny",
    "pt": "abaixo algo algum alguma algumas alguns alguém aqui artigo artigos até barato boa boas bom bonito bons "
    "coisa coisas como comprar contra custa custam encontrar encontro essa esse esta estou eu euros existe existem "
    "favor foto gostaria há imagem loja mais melhor menos meu meus minha minhas mostre muito nos nova novas novo novos "
    "obrigada obrigado oferta olá onde online pode podem poderia posso preciso preço procuro produto produtos promoção "
    "quais qual qualidade quanto queria quero reais recomendam saber tamanho tem tenho ter têm vende vendem você vocês",
    "ru": "бы вас вы где дешево дешевые дешевый евро есть ещё заказать здесь здравствуйте ищем ищу какая какие какого "
    "какое какой какую купить куплю ли лучшие лучший магазин мне могу можете можно надо найти наличии нас недорогие "
    "недорого недорогой нибудь новая новое новую новые новый нужен нужна нужно нужны онлайн очень подскажите "
    "пожалуйста покажите порекомендуйте посоветуйте привет продаете продается продаются размер руб рублей самые самый "
    "скидка сколько стоит стоят товар товары тут фото хорошие хороший хотел хотела хотелось хочу цена цены что",
    "sv": "bara behöver beställa bild billiga billigt bra bästa dem det dig din dina du efter er era erbjudande ert "
    "euro fina finns fint foto gärna ha har hej hitta hittar hur här jag kan kosta kostar kr kronor kunde "
    "kvalitet köpa leta letar mer mig mycket ni nya nytt någon något några också online pris produkt produkter "
    "rea sak saker ska skulle snygga storlek säljer sådan sådana söker ta tack tar under vad var vi vilka vilken "
    "vilket vill visa",
    "tr": "acaba alabilir alabilirim almak arıyorum bana beden ben biz bulabilirim bulunur burada daha en euro fiyat "
    "fiyatları fiyatı fotoğraf gibi göster güzel hangi hangisi indirim indirimli isterim istiyorum iyi kampanya "
    "kaç lazım lira lütfen merhaba mevcut misiniz miyim musunuz mısınız nasıl ne nerede nereden numara online "
    "resim satılık satın satıyor sipariş siz size tl ucuz uygun var yeni yok çok ürün ürünler",
    "zh": "一个 一些 价格 优惠 便宜 可以 哪里 在哪里 多少钱 怎么卖 想买 想要 我们 我想 我要 推荐 新款 "
    "有吗 有没有 有卖 求购 特价 请问 购买 需要",
}  # fmt: skip
"""Words for asking and buying, which weigh very little in matches of words
(:data:`~imagesim.indexes.query_words.FILLER`) and are not embedded unless the catalogue calls something so."""

PICTURES = {
    "cs": "fotka obrázek", "da": "billede foto", "de": "bild foto", "en": "image photo picture", "es": "foto imagen",
    "fi": "kuva", "fr": "image photo", "it": "foto immagine", "nb": "bilde foto", "nl": "foto", "pl": "zdjęcie",
    "pt": "foto imagem", "ru": "фото", "sv": "bild foto", "tr": "fotoğraf resim",
}  # fmt: skip
"""Those of the fillers that may say what a thing is for: a "picture of a vase" is a vase, a "picture frame" a frame."""

for _table in (FILLERS, PICTURES):
    _table["no"] = _table["nb"]  # the code for Norwegian that does not say which of its two forms
