//! What stands on the page for a request that cannot go back to the app.

super::table! {
    /// A title, a sentence and an advice for each problem.
    Problems {
        go_back: "Go back to the app and start again.", "Gehen Sie zurück zur App und fangen Sie noch einmal an.";
        tell: "Nothing was shared. Please tell the makers of the app, or the people who run it.", "Es wurde nichts weitergegeben. Bitte sagen Sie es den Herstellern der App oder denen, die sie betreiben.";
        wait_and_try: "Wait a moment, then try again.", "Warten Sie einen Augenblick und versuchen Sie es dann noch einmal.";
        wait_and_reload: "Wait a moment, then reload this page.", "Warten Sie einen Augenblick und laden Sie die Seite dann neu.";
        nothing_shared_go_back: "Nothing was shared. Go back to the app and start again.", "Es wurde nichts weitergegeben. Gehen Sie zurück zur App und fangen Sie noch einmal an.";
        unknown_app: "This app is not known here", "Diese App ist hier nicht bekannt";
        unknown_app_message: "The app that sent you here is not registered.", "Die App, die Sie hierher geschickt hat, ist nicht eingetragen.";
        untrusted_return: "This app cannot be trusted with the way back", "Dieser App ist der Rückweg nicht anzuvertrauen";
        untrusted_return_message: "The address the app wants you to return to is not the one it registered.", "Die Adresse, an die Sie zurückkehren sollen, ist nicht die, die die App eingetragen hat.";
        unverified_app: "This app’s request cannot be answered", "Die Anfrage dieser App lässt sich nicht beantworten";
        unverified_app_message: "What the app asked for is not possible here.", "Was die App möchte, ist hier nicht möglich.";
        unverified_app_advice: "Nothing was shared. Nobody here has checked who is behind this app, so you are not sent back to it.", "Es wurde nichts weitergegeben. Niemand hier hat geprüft, wer hinter dieser App steht, darum werden Sie nicht zu ihr zurückgeschickt.";
        used_request: "This sign-in cannot be started again", "Diese Anmeldung lässt sich nicht noch einmal beginnen";
        used_request_message: "The request of the app was used already, or it is older than a minute.", "Die Anfrage der App wurde schon benutzt, oder sie ist älter als eine Minute.";
        changed_request: "This request was changed on its way", "Diese Anfrage wurde unterwegs verändert";
        changed_request_message: "What your browser sent is not what the app asked for.", "Was Ihr Browser geschickt hat, ist nicht, was die App wollte.";
        unreadable: "This request cannot be read", "Diese Anfrage ist nicht lesbar";
        not_a_form: "The app or page sent something that is not a form.", "Die App oder Seite hat etwas geschickt, das kein Formular ist.";
        wrong_method: "The page is opened or posted to, nothing else.", "Diese Seite wird geöffnet, oder ihr Formular wird abgeschickt, sonst nichts.";
        over: "This sign-in is over", "Diese Anmeldung ist vorbei";
        over_message: "It was finished already, or it took longer than 15 minutes.", "Sie war schon zu Ende, oder sie hat länger als 15 Minuten gedauert.";
        over_advice: "Nothing was shared just now. Go back to the app and start again.", "Es wurde jetzt nichts weitergegeben. Gehen Sie zurück zur App und fangen Sie noch einmal an.";
        other_browser: "This sign-in was started in another browser", "Diese Anmeldung wurde in einem anderen Browser begonnen";
        other_browser_message: "Your browser did not send the cookie that was set when the sign-in began.", "Ihr Browser hat das Cookie nicht geschickt, das zu Beginn der Anmeldung gesetzt wurde.";
        other_browser_advice: "Allow cookies for this site, then go back to the app and start again.", "Erlauben Sie Cookies für diese Seite, gehen Sie zurück zur App und fangen Sie noch einmal an.";
        mixed_up: "This sign-in was mixed up with another one", "Diese Anmeldung wurde mit einer anderen verwechselt";
        mixed_up_message: "The answer came from another place than the one you were sent to.", "Die Antwort kam von anderswo als von dort, wohin Sie geschickt wurden.";
        forged: "This answer did not come from the page we showed you", "Diese Antwort kam nicht von der Seite, die wir Ihnen gezeigt haben";
        forged_message: "Nothing was allowed.", "Es wurde nichts erlaubt.";
        forged_advice: "If you were asked for your consent and answered, your session ended meanwhile: go back to the app and start again.", "Wenn Sie nach Ihrer Erlaubnis gefragt wurden und geantwortet haben, ist Ihre Anmeldung inzwischen abgelaufen: Gehen Sie zurück zur App und fangen Sie noch einmal an.";
        not_offered: "This choice was not offered", "Diese Wahl gab es nicht";
        not_offered_message: "What was sent is not on the page we showed you.", "Was geschickt wurde, steht nicht auf der Seite, die wir Ihnen gezeigt haben.";
        no_directory: "Patients cannot be looked up now", "Patienten lassen sich gerade nicht nachschlagen";
        no_directory_message: "The health record server does not answer.", "Der Server mit den Gesundheitsakten antwortet nicht.";
        too_many: "Too many requests", "Zu viele Anfragen";
        too_many_message: "Too many apps were opened from your network in a short time.", "Aus Ihrem Netz wurden in kurzer Zeit zu viele Apps geöffnet.";
        not_now: "This is not possible now", "Das geht gerade nicht";
        not_now_message: "The service cannot save its state.", "Der Dienst kann seinen Zustand nicht speichern.";
        internal: "Something went wrong", "Etwas ist schiefgegangen";
        internal_message: "The page could not be made.", "Die Seite ließ sich nicht erzeugen.";
    }
}
