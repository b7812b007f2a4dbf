//! Scopes in plain words. The technical name stands beside them on the page.

super::table! {
    /// What a scope gives. English puts the verbs first, German last.
    Scopes {
        open_type: "which {} you had open", "was Sie geöffnet hatten ({})";
        kind_patient: "patient", "Patient";
        kind_encounter: "visit", "Besuch";
        offline: "Keep this access while you are away", "Den Zugriff behalten, während Sie weg sind";
        offline_about: "Until you or this site withdraw it. Without it, the app has to ask you to sign in again.", "Bis Sie oder die Betreiber ihn entziehen. Ohne das muss die App Sie wieder bitten, sich anzumelden.";
        online: "Keep this access while you are signed in", "Den Zugriff behalten, solange Sie angemeldet sind";
        launch: "where you opened it, and for which patient", "wo Sie die App geöffnet haben, und für welchen Patienten";
        launch_patient: "which patient is chosen", "welcher Patient gewählt ist";
        launch_encounter: "which visit is chosen", "welcher Besuch gewählt ist";
        open_id: "that it is you who signed in", "dass Sie es sind, die oder der sich angemeldet hat";
        fhir_user: "who you are: your own entry, with your name", "wer Sie sind: Ihr eigener Eintrag, mit Ihrem Namen";
        profile: "your name", "Ihr Name";
        introspect: "whether accesses that this site gave still hold", "ob Zugriffe, die hier gegeben wurden, noch gelten";
        unknown: "something that is not known here", "etwas, das hier nicht bekannt ist";
        everything_of_patient: "everything in this patient’s record", "alles in der Akte dieses Patienten";
        everything_of_user: "everything you have access to", "alles, worauf Sie Zugriff haben";
        now_and_in_future: "Every kind of information, now and in the future", "Jede Art von Angaben, jetzt und in Zukunft";
        condition: "Only those that meet the condition in the technical name below", "Nur, was die Bedingung in der technischen Bezeichnung darunter erfüllt";
        all_patients: "For all patients you have access to", "Für alle Patienten, auf die Sie Zugriff haben";
        one_at_a_time: "One at a time, without searching", "Einzeln, ohne zu suchen";
        by_searching: "By searching", "Durch Suchen";
        changes_record: "This changes the record", "Das verändert die Akte";
        see: "see", "sehen";
        add: "add", "ergänzen";
        change: "change", "ändern";
        delete: "delete", "löschen";
        and: "and", "und";
        of_kind: "entries of the kind “{}”", "Einträge der Art „{}“";
        allergies: "allergies", "Allergien";
        appointments: "appointments", "Termine";
        files: "files", "Dateien";
        care_plans: "care plans", "Behandlungspläne";
        care_team: "the care team", "das Behandlungsteam";
        conditions: "health problems and diagnoses", "Gesundheitsprobleme und Diagnosen";
        coverage: "insurance", "Versicherung";
        devices: "medical devices and implants", "medizinische Geräte und Implantate";
        reports: "reports of examinations", "Untersuchungsberichte";
        documents: "documents and notes", "Dokumente und Notizen";
        encounters: "visits and stays", "Besuche und Aufenthalte";
        family_history: "family history", "Krankheiten in der Familie";
        goals: "health goals", "Gesundheitsziele";
        immunizations: "vaccinations", "Impfungen";
        locations: "places of care", "Orte der Behandlung";
        media: "pictures and recordings", "Bilder und Aufnahmen";
        medicines: "medicines", "Medikamente";
        administrations: "medicines that were given", "Medikamente, die gegeben wurden";
        dispenses: "medicines that were handed out", "Medikamente, die ausgegeben wurden";
        prescriptions: "prescriptions", "Verordnungen";
        medicines_in_use: "medicines in use", "Medikamente in Gebrauch";
        observations: "test results, vital signs and other findings", "Testergebnisse, Vitalwerte und andere Befunde";
        organizations: "organisations", "Einrichtungen";
        demographics: "name, birth date, address and contacts", "Name, Geburtsdatum, Adresse und Kontakte";
        practitioners: "doctors, nurses and other staff", "Ärztinnen, Ärzte, Pflegende und anderes Personal";
        procedures: "procedures and operations", "Eingriffe und Operationen";
        provenance: "where entries come from", "woher Einträge stammen";
        questionnaires: "filled-in questionnaires", "ausgefüllte Fragebögen";
        relatives: "relatives and contacts", "Angehörige und Kontakte";
        orders: "orders and referrals", "Aufträge und Überweisungen";
        specimens: "samples", "Proben";
        encounter_diagnoses: "diagnoses made at a visit", "Diagnosen eines Besuchs";
        problem_list: "the list of ongoing health problems", "die Liste andauernder Gesundheitsprobleme";
        health_concerns: "health concerns", "gesundheitliche Sorgen";
        clinical_tests: "results of clinical tests, such as an ECG or an eye test", "Ergebnisse von Untersuchungen, etwa EKG oder Sehtest";
        laboratory: "laboratory results", "Laborwerte";
        social_history: "social history, such as smoking or work", "Lebensweise, etwa Rauchen oder Arbeit";
        living_conditions: "living conditions, such as housing and food", "Lebensumstände, etwa Wohnung und Ernährung";
        surveys: "answers to questionnaires and assessments", "Antworten auf Fragebögen und Einschätzungen";
        vital_signs: "vital signs, such as blood pressure and weight", "Vitalwerte, etwa Blutdruck und Gewicht";
    }
}
