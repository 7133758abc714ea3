PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'tuner:made','{"token": "68dca84daeaf40f0955139f53036d9e7", "process": "{\"machine\": \"00000000-0000-4000-8000-000000000000/pid:[4026531836]\", \"pid\": 9562, \"started\": \"2654211\"}"}');
INSERT INTO "study_system_attributes" VALUES(2,1,'tuner:study','"cb5c741ee0134d968e93170a704899c5"');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,9.44881889763779514446e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,2.12598425196850404628e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,3,3.89763779527559028892e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,4,3.89763779527559028892e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,5,4.76377952755905498261e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,6,4.76377952755905498261e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,1,7,4.76377952755905498261e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,1,8,4.76377952755905498261e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,1,9,0.531496062992126,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,1,10,0.531496062992126,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,1,11,6.22047244094488194221e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,1,12,7.71653543307086575708e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,1,13,7.71653543307086575708e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,1,14,7.71653543307086575708e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,1,15,7.71653543307086575708e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,1,16,7.71653543307086575708e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,1,17,7.83464566929133909845e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,2,1,8.34645669291338543338e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,1,18,7.83464566929133909845e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,1,19,8.307086614173228023e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,2,2,9.29133858267716550294e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,1,20,8.307086614173228023e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,2,3,9.48818897637795255484e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,1,21,8.307086614173228023e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,1,22,8.307086614173228023e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,2,4,9.48818897637795255484e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,1,23,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,2,5,9.5669291338582673756e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,1,24,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,2,6,9.60629921259842478598e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(31,1,25,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(32,2,7,9.60629921259842478598e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(33,1,26,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(34,2,8,9.60629921259842478598e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(35,1,27,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(36,2,9,9.64566929133858219636e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(37,2,10,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(38,2,11,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(39,2,12,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(40,2,13,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(41,2,14,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(42,2,15,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(43,2,27,0.968503937007874,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(44,4,1,2.00787401574803153758e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(45,5,1,7.00787401574803126003e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(46,6,1,0.594488188976378,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(47,3,1,6.41732283464566899411e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(48,7,1,1.22047244094488194221e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(49,7,2,1.22047244094488194221e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(50,7,3,3.26771653543307061262e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(51,7,4,6.69291338582677197699e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(52,7,5,7.28346456692913424291e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(53,7,6,8.5433070866141735955e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(54,7,7,8.85826771653543287854e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(55,7,8,8.85826771653543287854e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(56,7,9,9.21259842519685068218e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(57,7,10,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(58,7,11,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(59,7,12,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(60,7,13,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(61,7,14,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(62,7,15,9.25196850393700809256e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(63,7,27,9.25196850393700809256e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(2,1,'width',400.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(3,1,'activation',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(4,1,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(5,1,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(6,1,'input_dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(7,1,'augment_flip',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(8,1,'optimizer',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(9,1,'learning_rate',0.01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(10,1,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(11,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(12,1,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(13,1,'momentum',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO "trial_params" VALUES(14,2,'depth',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(15,2,'width',128.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(16,2,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(17,2,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(18,2,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(19,2,'input_dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(20,2,'augment_flip',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(21,2,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(22,2,'learning_rate',0.001,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(23,2,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(24,2,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(25,2,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(26,3,'depth',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(27,3,'width',378.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(28,3,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(29,3,'batch_norm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(30,3,'dropout',6.71419931862760610563e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(31,3,'input_dropout',8.6849082189551410349e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(32,3,'augment_flip',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(33,3,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(34,3,'learning_rate',3.69643539568618908607e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(35,3,'schedule',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(36,3,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(37,3,'label_smoothing',0.0833643145820149,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(38,3,'weight_decay',1.91123987975961133478e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(39,4,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(40,4,'width',480.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(41,4,'activation',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(42,4,'batch_norm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(43,4,'dropout',3.6228068349533415482e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(44,4,'input_dropout',2.07380778904161164333e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(45,4,'augment_flip',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(46,4,'optimizer',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(47,4,'learning_rate',7.17136827944670710716e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(48,4,'schedule',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(49,4,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(50,4,'label_smoothing',5.24995711224894232027e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(51,4,'momentum',1.31143307907470418882e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO "trial_params" VALUES(52,5,'depth',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(53,5,'width',744.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(54,5,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(55,5,'batch_norm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(56,5,'dropout',6.23379426211719822603e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(57,5,'input_dropout',2.79527724084182582764e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(58,5,'augment_flip',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(59,5,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(60,5,'learning_rate',1.81658132952879536499e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(61,5,'schedule',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(62,5,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(63,5,'label_smoothing',9.89880198583620585228e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(64,6,'depth',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(65,6,'width',469.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(66,6,'activation',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(67,6,'batch_norm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(68,6,'dropout',2.4044060246286380611e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(69,6,'input_dropout',1.71809666425923185384e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(70,6,'augment_flip',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(71,6,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(72,6,'learning_rate',2.90908846150356528454e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(73,6,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(74,6,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(75,6,'label_smoothing',5.92466701941124218588e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(76,7,'depth',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(77,7,'width',395.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(78,7,'activation',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(79,7,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(80,7,'dropout',1.86624575937872350106e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(81,7,'input_dropout',2.97431921150036748802e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(82,7,'augment_flip',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(83,7,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(84,7,'learning_rate',4.70607022049425709891e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(85,7,'schedule',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(86,7,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(87,7,'label_smoothing',9.64974141673414220754e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(88,8,'depth',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}');
INSERT INTO "trial_params" VALUES(89,8,'width',561.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO "trial_params" VALUES(90,8,'activation',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO "trial_params" VALUES(91,8,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(92,8,'dropout',2.82277385682137171851e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(93,8,'input_dropout',2.37107419847064709861e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(94,8,'augment_flip',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO "trial_params" VALUES(95,8,'optimizer',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO "trial_params" VALUES(96,8,'learning_rate',1.39626424402152556764e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(97,8,'schedule',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO "trial_params" VALUES(98,8,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO "trial_params" VALUES(99,8,'label_smoothing',4.12267059243433889315e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO "trial_params" VALUES(100,8,'momentum',6.67243243862449597614e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"depth": 1, "width": 400, "activation": "sigmoid", "batch_norm": false, "dropout": 0.0, "input_dropout": 0.0, "augment_flip": false, "optimizer": "sgd", "learning_rate": 0.01, "schedule": "constant", "batch_size": 32, "label_smoothing": 0.0, "momentum": 0.0}');
INSERT INTO "trial_system_attributes" VALUES(2,1,'tuner:made','"47e2477677d747ceaa08fe32cfb0eabe"');
INSERT INTO "trial_system_attributes" VALUES(3,2,'fixed_params','{"depth": 2, "width": 128, "activation": "relu", "batch_norm": false, "dropout": 0.0, "input_dropout": 0.0, "augment_flip": false, "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 32, "label_smoothing": 0.0}');
INSERT INTO "trial_system_attributes" VALUES(4,2,'tuner:made','"948b965e34e64a24bcbab89c963af8eb"');
INSERT INTO "trial_system_attributes" VALUES(5,1,'completed_rung_0','0.09448818897637795');
INSERT INTO "trial_system_attributes" VALUES(6,1,'completed_rung_1','0.38976377952755903');
INSERT INTO "trial_system_attributes" VALUES(7,1,'completed_rung_2','0.531496062992126');
INSERT INTO "trial_system_attributes" VALUES(8,2,'completed_rung_0','0.8346456692913385');
INSERT INTO "trial_system_attributes" VALUES(9,2,'completed_rung_1','0.9488188976377953');
INSERT INTO "trial_system_attributes" VALUES(10,2,'completed_rung_2','0.9645669291338582');
INSERT INTO "trial_system_attributes" VALUES(11,2,'completed_rung_3','0.968503937007874');
INSERT INTO "trial_system_attributes" VALUES(12,4,'completed_rung_0','0.20078740157480315');
INSERT INTO "trial_system_attributes" VALUES(13,5,'completed_rung_0','0.7007874015748031');
INSERT INTO "trial_system_attributes" VALUES(14,6,'completed_rung_0','0.594488188976378');
INSERT INTO "trial_system_attributes" VALUES(15,3,'completed_rung_0','0.6417322834645669');
INSERT INTO "trial_system_attributes" VALUES(16,7,'completed_rung_0','0.9212598425196851');
INSERT INTO "trial_system_attributes" VALUES(17,7,'completed_rung_1','0.9251968503937008');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'end','"complete"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'best_epoch','23');
INSERT INTO "trial_user_attributes" VALUES(3,1,'parameter_count','30010');
INSERT INTO "trial_user_attributes" VALUES(4,2,'end','"early_stopped"');
INSERT INTO "trial_user_attributes" VALUES(5,2,'best_epoch','10');
INSERT INTO "trial_user_attributes" VALUES(6,2,'parameter_count','26122');
INSERT INTO "trial_user_attributes" VALUES(7,4,'end','"pruned"');
INSERT INTO "trial_user_attributes" VALUES(8,5,'end','"pruned"');
INSERT INTO "trial_user_attributes" VALUES(9,6,'end','"pruned"');
INSERT INTO "trial_user_attributes" VALUES(10,3,'end','"pruned"');
INSERT INTO "trial_user_attributes" VALUES(11,7,'end','"early_stopped"');
INSERT INTO "trial_user_attributes" VALUES(12,7,'best_epoch','10');
INSERT INTO "trial_user_attributes" VALUES(13,7,'parameter_count','186055');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,8.38582677165354284376e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.968503937007874,'FINITE');
INSERT INTO "trial_values" VALUES(3,4,0,2.00787401574803153758e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,5,0,7.00787401574803126003e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,6,0,0.594488188976378,'FINITE');
INSERT INTO "trial_values" VALUES(6,3,0,6.41732283464566899411e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,7,0,9.25196850393700809256e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 00:48:08.631392','2026-11-30 00:48:47.715678');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-30 00:48:09.363933','2026-11-30 00:48:57.221341');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-30 00:48:48.085461','2026-11-30 00:49:31.337775');
INSERT INTO "trials" VALUES(4,3,1,'PRUNED','2026-11-30 00:48:57.500919','2026-11-30 00:49:17.388610');
INSERT INTO "trials" VALUES(5,4,1,'PRUNED','2026-11-30 00:49:17.399675','2026-11-30 00:49:25.228149');
INSERT INTO "trials" VALUES(6,5,1,'PRUNED','2026-11-30 00:49:25.461141','2026-11-30 00:49:29.528594');
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-30 00:50:28.068999','2026-11-30 00:50:40.140571');
INSERT INTO "trials" VALUES(8,7,1,'WAITING','2026-11-30 00:50:40.183924',NULL);
CREATE TABLE tuner_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tuner_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "tuner_alembic_version" VALUES('0003');
CREATE TABLE tuner_attempts (
	study_uuid VARCHAR(32) NOT NULL, 
	trial_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	loop_id VARCHAR(36) NOT NULL, 
	worker INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	"end" VARCHAR(32), 
	detail TEXT, 
	score DOUBLE, 
	best_epoch INTEGER, 
	epochs INTEGER, 
	parameter_count BIGINT, 
	engine VARCHAR(32), 
	seconds JSON, 
	model_path TEXT, 
	model_bytes BIGINT, 
	model_sha256 VARCHAR(64), 
	resumed_epoch INTEGER, 
	CONSTRAINT tuner_attempts_key PRIMARY KEY (study_uuid, trial_id, attempt)
);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',1,1.79599968866801714892e+09,1.79599972782600212101e+09,'complete',NULL,8.38582677165354284376e-01,23,27,30010,'shared graph','{"prepare": 2.2065505039972777, "first_call": 18.232126226001128, "train": 10.189981180003088, "evaluate": 1.0914575009919645}','cb5c741ee0134d968e93170a704899c5/trial-0/attempt-1.keras',147784,'70ac232d4285c2b3d5f6efa1478ff506688a7ee5441e6975a2b233f452396cbc',NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',0,1.79599968945401167871e+09,1.7959997372479989528e+09,'early_stopped',NULL,0.968503937007874,10,15,26122,'shared graph','{"prepare": 2.212393712001358, "first_call": 26.186603011999978, "train": 7.652674207998643, "evaluate": 0.8323350680002477}','cb5c741ee0134d968e93170a704899c5/trial-1/attempt-1.keras',136220,'cd323b997551f6b2264b3e18ae3ee52332f67595bd3dd6ca3f1ede80749a8511',NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',3,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',1,1.7959997281749844551e+09,1.7959997713969991207e+09,'pruned',NULL,6.41732283464566899411e-01,NULL,1,NULL,'shared graph','{"prepare": 1.4092730930024118, "first_call": 38.29113578900069, "train": 2.5528702609990432, "evaluate": 0.0}',NULL,NULL,NULL,NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',4,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',0,1.79599973755501794809e+09,1.79599975738999390606e+09,'pruned',NULL,2.00787401574803153758e-01,NULL,1,NULL,'shared graph','{"prepare": 0.4065521970005648, "first_call": 16.37013661799938, "train": 2.314800443000422, "evaluate": 0.0}',NULL,NULL,NULL,NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',5,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',0,1.7959997574099898338e+09,1.79599976522901797295e+09,'pruned',NULL,7.00787401574803126003e-01,NULL,1,NULL,'shared graph','{"prepare": 0.596138978999079, "first_call": 0.0, "train": 6.195253514997603, "evaluate": 0.08305020700208843}',NULL,NULL,NULL,NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',6,1,'01f02663-73d0-4671-a183-0d5c6cb6b8c3',0,1.79599976551700687412e+09,1.79599976957399559023e+09,'pruned',NULL,0.594488188976378,NULL,1,NULL,'shared graph','{"prepare": 0.36045139500129153, "first_call": 0.0, "train": 2.395747984995978, "evaluate": 0.030667987000924768}',NULL,NULL,NULL,NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,'88e494bd-94f6-47e3-bbc8-9dd62d250ed2',0,1.79599982809099864957e+09,1.79599984015200734134e+09,'early_stopped',NULL,9.25196850393700809256e-01,10,15,186055,'shared graph','{"prepare": 0.7259321800011094, "first_call": 6.217607835998933, "train": 4.118643267000152, "evaluate": 0.13152243100194028}',NULL,NULL,NULL,NULL);
INSERT INTO "tuner_attempts" VALUES('cb5c741ee0134d968e93170a704899c5',8,1,'88e494bd-94f6-47e3-bbc8-9dd62d250ed2',0,1.79599984018499851225e+09,1.79599984686100339892e+09,'interrupted',NULL,NULL,NULL,0,NULL,NULL,'{}',NULL,NULL,NULL,NULL);
CREATE TABLE tuner_database (
	uuid VARCHAR(32) NOT NULL, 
	machine VARCHAR(64) NOT NULL, 
	place TEXT NOT NULL, 
	CONSTRAINT tuner_database_key PRIMARY KEY (uuid)
);
INSERT INTO "tuner_database" VALUES('5d4ed948b3024643b51ae0972ec00fb6','00000000000000000000000000000000','/home/ada/tuner.db');
CREATE TABLE tuner_deliveries (
	study_uuid VARCHAR(32) NOT NULL, 
	trial_id INTEGER NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	step INTEGER DEFAULT '0' NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	CONSTRAINT tuner_deliveries_key PRIMARY KEY (study_uuid, trial_id)
);
CREATE TABLE tuner_intervals (
	study_uuid VARCHAR(32) NOT NULL, 
	trial_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	whole BOOLEAN NOT NULL, 
	metrics JSON NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT tuner_intervals_key PRIMARY KEY (study_uuid, trial_id, attempt, step)
)
 WITHOUT ROWID

;
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,1,1,1,'{"loss": 2.3267018332410214, "accuracy": 0.10526315789473684, "val_loss": 2.2821239561546505, "val_accuracy": 0.09448818897637795}',1.79599971166101241111e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,2,2,1,'{"loss": 2.2826606169144, "accuracy": 0.1358994501178319, "val_loss": 2.2663932259627213, "val_accuracy": 0.2125984251968504}',1.79599971249999403955e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,3,3,1,'{"loss": 2.267584262077769, "accuracy": 0.17831893165750196, "val_loss": 2.2449573907326528, "val_accuracy": 0.38976377952755903}',1795999713.05501);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,4,4,1,'{"loss": 2.2496766527150434, "accuracy": 0.21838177533385703, "val_loss": 2.2300352562130907, "val_accuracy": 0.1732283464566929}',1.79599971362201571468e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,5,5,1,'{"loss": 2.2316871517208368, "accuracy": 0.21445404556166536, "val_loss": 2.21383498785064, "val_accuracy": 0.4763779527559055}',1.79599971427198195454e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,6,6,1,'{"loss": 2.21518301533042, "accuracy": 0.3126472898664572, "val_loss": 2.196261188176673, "val_accuracy": 0.3937007874015748}',1.79599971482301497454e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,7,7,1,'{"loss": 2.1984360808007657, "accuracy": 0.3558523173605656, "val_loss": 2.1788171482837106, "val_accuracy": 0.3661417322834646}',1.79599971528400635719e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,8,8,1,'{"loss": 2.1805675953088177, "accuracy": 0.3236449332285939, "val_loss": 2.16558837890625, "val_accuracy": 0.4015748031496063}',1.79599971584401130672e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,9,9,1,'{"loss": 2.167475098806952, "accuracy": 0.44854673998428907, "val_loss": 2.144499771238312, "val_accuracy": 0.531496062992126}',1.79599971643901920323e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,10,10,1,'{"loss": 2.1482633604183032, "accuracy": 0.4996072270227808, "val_loss": 2.1290725347563977, "val_accuracy": 0.47244094488188976}',1.79599971722799086571e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,11,11,1,'{"loss": 2.1327424989566968, "accuracy": 0.5074626865671642, "val_loss": 2.1102287712998278, "val_accuracy": 0.6220472440944882}',1.79599971778401279456e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,12,12,1,'{"loss": 2.1162985826418894, "accuracy": 0.5168892380204242, "val_loss": 2.091579407218873, "val_accuracy": 0.7716535433070866}',1.79599971839101028446e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,13,13,1,'{"loss": 2.09585904513207, "accuracy": 0.5978004713275726, "val_loss": 2.080644742710384, "val_accuracy": 0.515748031496063}',1.79599971890398263929e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,14,14,1,'{"loss": 2.081248005449725, "accuracy": 0.565593087195601, "val_loss": 2.05893112543061, "val_accuracy": 0.6850393700787402}',1.79599971937398624421e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,15,15,1,'{"loss": 2.0650043112971326, "accuracy": 0.6260801256873527, "val_loss": 2.0425753856268454, "val_accuracy": 0.7244094488188977}',1.79599971991500115394e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,16,16,1,'{"loss": 2.0461960857717987, "accuracy": 0.629222309505106, "val_loss": 2.0249516044076032, "val_accuracy": 0.7519685039370079}',1.79599972030200362212e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,17,17,1,'{"loss": 2.030126147633543, "accuracy": 0.6802827965435978, "val_loss": 2.0058476005013532, "val_accuracy": 0.7834645669291339}',1.79599972074400472642e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,18,18,1,'{"loss": 2.0133937886635898, "accuracy": 0.7187745483110762, "val_loss": 1.9888675719734252, "val_accuracy": 0.7440944881889764}',1.79599972130899882319e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,19,19,1,'{"loss": 1.996396768214847, "accuracy": 0.7124901806755696, "val_loss": 1.9729211762195498, "val_accuracy": 0.8307086614173228}',1.79599972172798657416e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,20,20,1,'{"loss": 1.97978389047771, "accuracy": 0.7093479968578161, "val_loss": 1.9597274900421382, "val_accuracy": 0.6653543307086615}',1.79599972211901235579e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,21,21,1,'{"loss": 1.9611298590313238, "accuracy": 0.7336999214454045, "val_loss": 1.9403318870724655, "val_accuracy": 0.6889763779527559}',1.79599972263101935387e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,22,22,1,'{"loss": 1.9442229769123134, "accuracy": 0.7399842890809112, "val_loss": 1.9187703770915354, "val_accuracy": 0.7716535433070866}',1.7959997229989914894e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,23,23,1,'{"loss": 1.9253575998502552, "accuracy": 0.7619795758051846, "val_loss": 1.8993887112835262, "val_accuracy": 0.8385826771653543}',1.79599972367398285862e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,24,24,1,'{"loss": 1.9104487201124312, "accuracy": 0.7847604084838963, "val_loss": 1.8838236651082678, "val_accuracy": 0.7519685039370079}',1.79599972423101067542e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,25,25,1,'{"loss": 1.8919964450977023, "accuracy": 0.7729772191673213, "val_loss": 1.861940398929626, "val_accuracy": 0.8110236220472441}',1.79599972473501110076e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,26,26,1,'{"loss": 1.8728771464429497, "accuracy": 0.7989002356637863, "val_loss": 1.8466078390286664, "val_accuracy": 0.8385826771653543}',1.79599972533899092681e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',1,1,27,27,1,'{"loss": 1.852411526352612, "accuracy": 0.7996857816182247, "val_loss": 1.8296392245555486, "val_accuracy": 0.7086614173228346}',1.79599972610301828381e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,1,1,1,'{"loss": 1.644017875054083, "accuracy": 0.582089552238806, "val_loss": 0.9398344745786171, "val_accuracy": 0.8346456692913385}',1.79599972090300607683e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,2,2,1,'{"loss": 0.6314274052981776, "accuracy": 0.8758837391987431, "val_loss": 0.39047388392170584, "val_accuracy": 0.9291338582677166}',1.7959997219190135002e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,3,3,1,'{"loss": 0.30722669195398417, "accuracy": 0.9387274155538099, "val_loss": 0.23911312433678333, "val_accuracy": 0.9488188976377953}',1.795999722418990612e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,4,4,1,'{"loss": 0.20315671622612677, "accuracy": 0.9560094265514533, "val_loss": 0.19360763069212905, "val_accuracy": 0.9448818897637795}',1.79599972322699284548e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,5,5,1,'{"loss": 0.1490879942840792, "accuracy": 0.974076983503535, "val_loss": 0.16089113490788018, "val_accuracy": 0.9566929133858267}',1.79599972382900118826e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,6,6,1,'{"loss": 0.1182657198370299, "accuracy": 0.9748625294579732, "val_loss": 0.15138496939591536, "val_accuracy": 0.9606299212598425}',1.79599972449200296405e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,7,7,1,'{"loss": 0.09334890840564856, "accuracy": 0.9842890809112333, "val_loss": 0.1284937220295583, "val_accuracy": 0.9606299212598425}',1.79599972515701651575e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,8,8,1,'{"loss": 0.07778094007757266, "accuracy": 0.9850746268656716, "val_loss": 0.12763359790711892, "val_accuracy": 0.9606299212598425}',1.79599972568000698092e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,9,9,1,'{"loss": 0.06606485706937659, "accuracy": 0.99057344854674, "val_loss": 0.12263447468675027, "val_accuracy": 0.9645669291338582}',1.79599972643498182293e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,10,10,1,'{"loss": 0.05403595090567925, "accuracy": 0.9921445404556166, "val_loss": 0.1067406511682225, "val_accuracy": 0.968503937007874}',1.79599972699498677255e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,11,11,1,'{"loss": 0.04519387819780109, "accuracy": 0.9945011783189317, "val_loss": 0.10309647387406957, "val_accuracy": 0.968503937007874}',1.79599972885098171232e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,12,12,1,'{"loss": 0.03924436187144817, "accuracy": 0.9968578161822467, "val_loss": 0.11209802552471011, "val_accuracy": 0.9645669291338582}',1.79599972942398190497e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,13,13,1,'{"loss": 0.03414789935499313, "accuracy": 0.9960722702278083, "val_loss": 0.10332540076548659, "val_accuracy": 0.968503937007874}',1.79599973000700020788e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,14,14,1,'{"loss": 0.02901902239995029, "accuracy": 0.9984289080911233, "val_loss": 0.11290277646282526, "val_accuracy": 0.968503937007874}',1.79599973071200561523e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',2,1,15,15,1,'{"loss": 0.028421580276429326, "accuracy": 0.997643362136685, "val_loss": 0.10108239631953202, "val_accuracy": 0.9645669291338582}',1.7959997309909820557e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',3,1,1,1,1,'{"loss": 1.7275230725356565, "accuracy": 0.4948939512961508, "val_loss": 1.6875326802411417, "val_accuracy": 0.6417322834645669}',1.79599977113500094416e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',4,1,1,1,1,'{"loss": 2.355140500244716, "accuracy": 0.15946582875098192, "val_loss": 2.224606491449311, "val_accuracy": 0.20078740157480315}',1.79599975737498712539e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',5,1,1,1,1,'{"loss": 1.109699911520599, "accuracy": 0.8067556952081697, "val_loss": 1.225584015132874, "val_accuracy": 0.7007874015748031}',1.79599976485501074789e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',6,1,1,1,1,'{"loss": 2.067805767433904, "accuracy": 0.3126472898664572, "val_loss": 1.7415472315991019, "val_accuracy": 0.594488188976378}',1.79599976929501891137e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,1,1,1,'{"loss": 2.403184134100519, "accuracy": 0.09662215239591516, "val_loss": 2.299442081000861, "val_accuracy": 0.1220472440944882}',1795999836.292);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,2,2,1,'{"loss": 2.338354897330525, "accuracy": 0.12804399057344854, "val_loss": 2.2677895853838583, "val_accuracy": 0.10236220472440945}',1795999837.23599);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,3,3,1,'{"loss": 2.278387436788099, "accuracy": 0.17517674783974863, "val_loss": 2.09334534171998, "val_accuracy": 0.32677165354330706}',1.79599983744101810451e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,4,4,1,'{"loss": 1.9360186628534957, "accuracy": 0.37077769049489395, "val_loss": 1.5425901638241264, "val_accuracy": 0.6692913385826772}',1.79599983767899727821e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,5,5,1,'{"loss": 1.4504096307627161, "accuracy": 0.5930871956009427, "val_loss": 1.144839309331939, "val_accuracy": 0.7283464566929134}',1.79599983792498254769e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,6,6,1,'{"loss": 1.222938267901856, "accuracy": 0.7022780832678712, "val_loss": 0.8986191036194329, "val_accuracy": 0.8543307086614174}',1.7959998381529836655e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,7,7,1,'{"loss": 1.0990093797562352, "accuracy": 0.7596229379418696, "val_loss": 0.8633649931179257, "val_accuracy": 0.8858267716535433}',1.79599983837901353836e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,8,8,1,'{"loss": 1.0666058009193342, "accuracy": 0.7855459544383346, "val_loss": 0.8628308754267655, "val_accuracy": 0.8740157480314961}',1.79599983860399723054e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,9,9,1,'{"loss": 1.0371447590890122, "accuracy": 0.788688138256088, "val_loss": 0.7943068376676304, "val_accuracy": 0.9212598425196851}',1.7959998388169913292e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,10,10,1,'{"loss": 1.0070701053736253, "accuracy": 0.7855459544383346, "val_loss": 0.7527739156888226, "val_accuracy": 0.9251968503937008}',1.79599983915800762179e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,11,11,1,'{"loss": 0.9763447296310389, "accuracy": 0.8153967007069913, "val_loss": 0.7915726308747539, "val_accuracy": 0.889763779527559}',1.79599983927299380308e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,12,12,1,'{"loss": 0.97011991082826, "accuracy": 0.8201099764336214, "val_loss": 0.7644082617571973, "val_accuracy": 0.905511811023622}',1.79599983944100737576e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,13,13,1,'{"loss": 0.94829646228152, "accuracy": 0.8240377062058131, "val_loss": 0.7456015639417753, "val_accuracy": 0.9212598425196851}',1.79599983962398767473e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,14,14,1,'{"loss": 0.9231250460280833, "accuracy": 0.8350353495679497, "val_loss": 0.7216311477300689, "val_accuracy": 0.9212598425196851}',1.79599983981799173355e+09);
INSERT INTO "tuner_intervals" VALUES('cb5c741ee0134d968e93170a704899c5',7,1,15,15,1,'{"loss": 0.9104276239076001, "accuracy": 0.8334642576590731, "val_loss": 0.755515631728285, "val_accuracy": 0.9173228346456693}',1.79599984003999829295e+09);
CREATE TABLE tuner_loops (
	study_uuid VARCHAR(32) NOT NULL, 
	loop_id VARCHAR(36) NOT NULL, 
	number INTEGER NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	process VARCHAR(256), 
	CONSTRAINT tuner_loops_key PRIMARY KEY (loop_id)
);
INSERT INTO "tuner_loops" VALUES('cb5c741ee0134d968e93170a704899c5','01f02663-73d0-4671-a183-0d5c6cb6b8c3',0,'ada-laptop',9923,1.79599968774700021745e+09,1.7959997719990074634e+09,'{"machine": "00000000-0000-4000-8000-000000000000/pid:[4026531836]", "pid": 9923, "started": "2657910"}');
INSERT INTO "tuner_loops" VALUES('cb5c741ee0134d968e93170a704899c5','88e494bd-94f6-47e3-bbc8-9dd62d250ed2',1,'ada-laptop',12838,1.79599982754298305507e+09,1.79599984687999343875e+09,'{"machine": "00000000-0000-4000-8000-000000000000/pid:[4026531836]", "pid": 12838, "started": "2673602"}');
CREATE TABLE tuner_places (
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	trial_id INTEGER, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	loop_id VARCHAR(36), 
	added_by VARCHAR(36), 
	CONSTRAINT tuner_places_key PRIMARY KEY (study_id, number), 
	CONSTRAINT tuner_places_trial UNIQUE (study_id, trial_id)
);
INSERT INTO "tuner_places" VALUES(1,1,'done',1,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,2,'done',2,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,3,'done',3,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,4,'done',4,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,5,'done',5,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,6,'done',6,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,7,'done',7,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,8,'open',8,1,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,9,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,10,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,11,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,12,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,13,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,14,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,15,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,16,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,17,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,18,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,19,'open',NULL,0,NULL,NULL);
INSERT INTO "tuner_places" VALUES(1,20,'open',NULL,0,NULL,NULL);
CREATE TABLE tuner_studies (
	study_id INTEGER NOT NULL, 
	uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	spec TEXT NOT NULL, 
	experiment TEXT, 
	created_at DOUBLE NOT NULL, 
	owner VARCHAR(256), 
	owner_machine VARCHAR(64), 
	version VARCHAR(64), 
	stop_until DOUBLE, 
	CONSTRAINT tuner_studies_key PRIMARY KEY (uuid), 
	CONSTRAINT tuner_studies_study_id UNIQUE (study_id), 
	CONSTRAINT tuner_studies_name UNIQUE (name)
);
INSERT INTO "tuner_studies" VALUES(1,'cb5c741ee0134d968e93170a704899c5','old','{"defaults":{"depth":2,"width":128,"taper":1.0,"activation":"relu","leaky_slope":0.2,"initializer":"auto","init_sigma":0.05,"bias":"all","dropout":0.0,"input_dropout":0.0,"batch_norm":false,"layer_norm":false,"norm_position":"before","epochs":27,"patience":5,"batch_size":32,"loss":"auto","huber_delta":1.0,"label_smoothing":0.0,"optimizer":"adam","learning_rate":0.001,"momentum":0.0,"nesterov":false,"weight_decay":0.0,"clip_norm":0.0,"schedule":"constant","warmup_epochs":0.0,"plateau_factor":0.5,"plateau_patience":2,"plateau_min_delta":0.0001,"cosine_floor":0.0,"decay":0.9,"cycle_rise":0.3,"l1":0.0,"l2":0.0,"max_norm":0.0,"augment_shift":0,"augment_flip":false},"space":{"network":"mlp","parameters":{"depth":{"when":{},"repeat":null,"type":"int","low":1,"high":4,"log":false,"step":1},"width":{"when":{},"repeat":null,"type":"int","low":64,"high":768,"log":true,"step":1},"activation":{"when":{},"repeat":null,"type":"categorical","choices":["relu","gelu","swish","tanh","sigmoid"]},"batch_norm":{"when":{},"repeat":null,"type":"categorical","choices":[true,false]},"dropout":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.5,"log":false,"step":null},"input_dropout":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.3,"log":false,"step":null},"label_smoothing":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.1,"log":false,"step":null},"augment_flip":{"when":{},"repeat":null,"type":"categorical","choices":[true,false]},"optimizer":{"when":{},"repeat":null,"type":"categorical","choices":["adam","adamw","sgd"]},"learning_rate":{"when":{},"repeat":null,"type":"float","low":0.0001,"high":0.1,"log":true,"step":null},"schedule":{"when":{},"repeat":null,"type":"categorical","choices":["constant","cosine","one_cycle"]},"momentum":{"when":{"optimizer":["sgd"]},"repeat":null,"type":"float","low":0.0,"high":0.99,"log":false,"step":null},"weight_decay":{"when":{"optimizer":["adamw"]},"repeat":null,"type":"float","low":0.0001,"high":0.1,"log":true,"step":null},"batch_size":{"when":{},"repeat":null,"type":"categorical","choices":[32,64,128]},"epochs":27,"patience":5},"baselines":[{"depth":1,"width":400,"activation":"sigmoid","batch_norm":false,"dropout":0.0,"input_dropout":0.0,"label_smoothing":0.0,"augment_flip":false,"optimizer":"sgd","learning_rate":0.01,"schedule":"constant","momentum":0.0,"batch_size":32},{"depth":2,"width":128,"activation":"relu","batch_norm":false,"dropout":0.0,"input_dropout":0.0,"label_smoothing":0.0,"augment_flip":false,"optimizer":"adam","learning_rate":0.001,"schedule":"constant","batch_size":32}]},"data":{"source":"digits","task":"classes","validation":0.16666666666666666,"test":0.15,"scaling":"auto","seed":0,"columns":{},"reading":2},"fingerprint":"be1cada653df4ae858a6bf312cd90c444ff85d4f46bee99d1a3f1fe6ab73db66","train_rows":1273,"task":"classes","sampler":{"name":"tpe","options":{}},"pruner":{"name":"hyperband","options":{}},"metric":"val_accuracy","direction":"maximize","seed":0,"held_out":"val","code":{},"keeps_modules":true}',NULL,1.79599962623801970478e+09,'ada','00000000000000000000000000000000','0.1.0',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX tuner_places_state ON tuner_places (study_id, state);
CREATE INDEX tuner_loops_study ON tuner_loops (study_uuid);
COMMIT;
