PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO studies VALUES(1,'old');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO version_info VALUES(1,12,'5.0.0');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_directions VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_system_attributes VALUES(1,1,'tuner:made','{"token": "b763ff0297eb41e2a0e4f3320e9119a6", "process": "{\"machine\": \"00000000-0000-4000-8000-000000000000/pid:[4026531836]\", \"pid\": 4932, \"started\": \"47904\"}"}');
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
INSERT INTO trials VALUES(1,0,1,'COMPLETE','2026-11-29 17:33:05.740902','2026-11-29 17:33:12.999819');
INSERT INTO trials VALUES(2,1,1,'COMPLETE','2026-11-29 17:33:13.014871','2026-11-29 17:33:14.761743');
INSERT INTO trials VALUES(3,2,1,'COMPLETE','2026-11-29 17:33:14.867385','2026-11-29 17:33:17.399445');
INSERT INTO trials VALUES(4,3,1,'PRUNED','2026-11-29 17:33:17.459146','2026-11-29 17:33:18.493785');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_user_attributes VALUES(1,1,'end','"complete"');
INSERT INTO trial_user_attributes VALUES(2,1,'best_epoch','3');
INSERT INTO trial_user_attributes VALUES(3,1,'parameter_count','3203');
INSERT INTO trial_user_attributes VALUES(4,2,'end','"complete"');
INSERT INTO trial_user_attributes VALUES(5,2,'best_epoch','3');
INSERT INTO trial_user_attributes VALUES(6,2,'parameter_count','1027');
INSERT INTO trial_user_attributes VALUES(7,3,'end','"complete"');
INSERT INTO trial_user_attributes VALUES(8,3,'best_epoch','3');
INSERT INTO trial_user_attributes VALUES(9,3,'parameter_count','5007');
INSERT INTO trial_user_attributes VALUES(10,4,'end','"pruned"');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_system_attributes VALUES(1,1,'fixed_params','{"width": 400, "activation": "sigmoid", "batch_norm": false, "dropout": 0.0, "input_dropout": 0.0, "optimizer": "sgd", "learning_rate": 0.01, "schedule": "constant", "batch_size": 32, "label_smoothing": 0.0, "momentum": 0.0}');
INSERT INTO trial_system_attributes VALUES(2,1,'tuner:made','"2847a0f54927466f817a7a227c6c66b0"');
INSERT INTO trial_system_attributes VALUES(3,2,'fixed_params','{"width": 128, "activation": "relu", "batch_norm": false, "dropout": 0.0, "input_dropout": 0.0, "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 32, "label_smoothing": 0.0}');
INSERT INTO trial_system_attributes VALUES(4,2,'tuner:made','"2297c2208df34c1a902ecccf8a7dac1e"');
INSERT INTO trial_system_attributes VALUES(5,3,'completed_rung_0','0.38095238095238093');
INSERT INTO trial_system_attributes VALUES(6,4,'completed_rung_0','0.3333333333333333');
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
INSERT INTO trial_params VALUES(1,1,'width',400.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO trial_params VALUES(2,1,'activation',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO trial_params VALUES(3,1,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO trial_params VALUES(4,1,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(5,1,'input_dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO trial_params VALUES(6,1,'optimizer',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO trial_params VALUES(7,1,'learning_rate',0.010000000000000000208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO trial_params VALUES(8,1,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO trial_params VALUES(9,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO trial_params VALUES(10,1,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO trial_params VALUES(11,1,'momentum',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO trial_params VALUES(12,2,'width',128.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO trial_params VALUES(13,2,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO trial_params VALUES(14,2,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO trial_params VALUES(15,2,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(16,2,'input_dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO trial_params VALUES(17,2,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO trial_params VALUES(18,2,'learning_rate',0.0010000000000000000208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO trial_params VALUES(19,2,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO trial_params VALUES(20,2,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO trial_params VALUES(21,2,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO trial_params VALUES(22,3,'width',556.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO trial_params VALUES(23,3,'activation',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO trial_params VALUES(24,3,'batch_norm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO trial_params VALUES(25,3,'dropout',0.28066076966443037621,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(26,3,'input_dropout',0.040285195911765638021,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO trial_params VALUES(27,3,'optimizer',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO trial_params VALUES(28,3,'learning_rate',0.0029496407062975680754,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO trial_params VALUES(29,3,'schedule',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO trial_params VALUES(30,3,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO trial_params VALUES(31,3,'label_smoothing',0.086322957768218813723,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO trial_params VALUES(32,3,'momentum',0.94500599798595974476,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.99, "log": false}}');
INSERT INTO trial_params VALUES(33,4,'width',128.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 768}}');
INSERT INTO trial_params VALUES(34,4,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "gelu", "swish", "tanh", "sigmoid"]}}');
INSERT INTO trial_params VALUES(35,4,'batch_norm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [true, false]}}');
INSERT INTO trial_params VALUES(36,4,'dropout',0.108314789060159955,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(37,4,'input_dropout',0.28435461235897896425,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO trial_params VALUES(38,4,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "adamw", "sgd"]}}');
INSERT INTO trial_params VALUES(39,4,'learning_rate',0.00016120584296008859869,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}');
INSERT INTO trial_params VALUES(40,4,'schedule',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["constant", "cosine", "one_cycle"]}}');
INSERT INTO trial_params VALUES(41,4,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [32, 64, 128]}}');
INSERT INTO trial_params VALUES(42,4,'label_smoothing',0.014616572514249560887,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.1, "log": false}}');
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
INSERT INTO trial_values VALUES(1,1,0,0.33333333333333331482,'FINITE');
INSERT INTO trial_values VALUES(2,2,0,0.28571428571428569842,'FINITE');
INSERT INTO trial_values VALUES(3,3,0,0.66666666666666662965,'FINITE');
INSERT INTO trial_values VALUES(4,4,0,0.33333333333333331482,'FINITE');
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
INSERT INTO trial_intermediate_values VALUES(1,1,1,0.095238095238095232808,'FINITE');
INSERT INTO trial_intermediate_values VALUES(2,1,2,0.28571428571428569842,'FINITE');
INSERT INTO trial_intermediate_values VALUES(3,1,3,0.33333333333333331482,'FINITE');
INSERT INTO trial_intermediate_values VALUES(4,2,1,0.23809523809523808202,'FINITE');
INSERT INTO trial_intermediate_values VALUES(5,2,2,0.23809523809523808202,'FINITE');
INSERT INTO trial_intermediate_values VALUES(6,2,3,0.28571428571428569842,'FINITE');
INSERT INTO trial_intermediate_values VALUES(7,3,1,0.38095238095238093123,'FINITE');
INSERT INTO trial_intermediate_values VALUES(8,3,2,0.57142857142857139685,'FINITE');
INSERT INTO trial_intermediate_values VALUES(9,3,3,0.66666666666666662965,'FINITE');
INSERT INTO trial_intermediate_values VALUES(10,4,1,0.33333333333333331482,'FINITE');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('v3.2.0.a');
CREATE TABLE tuner_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tuner_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO tuner_alembic_version VALUES('0002');
CREATE TABLE tuner_studies (
	study_id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	spec TEXT NOT NULL, 
	experiment VARCHAR(256), 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (study_id), 
	UNIQUE (name)
);
INSERT INTO tuner_studies VALUES(1,'old','{"space":{"network":"mlp","parameters":{"depth":1,"width":{"when":{},"repeat":null,"type":"int","low":64,"high":768,"log":true,"step":1},"activation":{"when":{},"repeat":null,"type":"categorical","choices":["relu","gelu","swish","tanh","sigmoid"]},"batch_norm":{"when":{},"repeat":null,"type":"categorical","choices":[true,false]},"dropout":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.5,"log":false,"step":null},"input_dropout":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.3,"log":false,"step":null},"label_smoothing":{"when":{},"repeat":null,"type":"float","low":0.0,"high":0.1,"log":false,"step":null},"augment_flip":false,"optimizer":{"when":{},"repeat":null,"type":"categorical","choices":["adam","adamw","sgd"]},"learning_rate":{"when":{},"repeat":null,"type":"float","low":0.0001,"high":0.1,"log":true,"step":null},"schedule":{"when":{},"repeat":null,"type":"categorical","choices":["constant","cosine","one_cycle"]},"momentum":{"when":{"optimizer":["sgd"]},"repeat":null,"type":"float","low":0.0,"high":0.99,"log":false,"step":null},"weight_decay":{"when":{"optimizer":["adamw"]},"repeat":null,"type":"float","low":0.0001,"high":0.1,"log":true,"step":null},"batch_size":{"when":{},"repeat":null,"type":"categorical","choices":[32,64,128]},"epochs":3,"patience":5},"baselines":[{"width":400,"activation":"sigmoid","batch_norm":false,"dropout":0.0,"input_dropout":0.0,"label_smoothing":0.0,"optimizer":"sgd","learning_rate":0.01,"schedule":"constant","momentum":0.0,"batch_size":32},{"width":128,"activation":"relu","batch_norm":false,"dropout":0.0,"input_dropout":0.0,"label_smoothing":0.0,"optimizer":"adam","learning_rate":0.001,"schedule":"constant","batch_size":32}]},"data":{"source":"iris","task":"classes","validation":0.16666666666666666,"test":0.15,"scaling":"auto","seed":0},"fingerprint":"d2363ae5db751dd6a648a9ade489701b48ec4c0b590f5a1781b9f729631849ef","train_rows":107,"task":"classes","sampler":{"name":"tpe","options":{}},"pruner":{"name":"hyperband","options":{}},"metric":"val_accuracy","direction":"maximize","seed":0,"held_out":"val","code":{}}',NULL,1795973544.9019968509);
CREATE TABLE tuner_places (
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	trial_id INTEGER, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	loop_id VARCHAR(36), added_by VARCHAR(36), 
	PRIMARY KEY (study_id, number), 
	UNIQUE (trial_id)
);
INSERT INTO tuner_places VALUES(1,1,'done',1,1,NULL,NULL);
INSERT INTO tuner_places VALUES(1,2,'done',2,1,NULL,NULL);
INSERT INTO tuner_places VALUES(1,3,'done',3,1,NULL,NULL);
INSERT INTO tuner_places VALUES(1,4,'done',4,1,NULL,NULL);
CREATE TABLE tuner_loops (
	loop_id VARCHAR(36) NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, process VARCHAR(256), 
	PRIMARY KEY (loop_id)
);
INSERT INTO tuner_loops VALUES('fb87071a-e202-4d25-a365-2717ebe9dbae',1,0,'ada-laptop',6745,1795973584.9109933376,1795973598.6310153007,'{"machine": "00000000-0000-4000-8000-000000000000/pid:[4026531836]", "pid": 6745, "started": "49133"}');
CREATE TABLE tuner_attempts (
	trial_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
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
	model_path TEXT, resumed_epoch INTEGER, 
	PRIMARY KEY (trial_id, attempt)
);
INSERT INTO tuner_attempts VALUES(1,1,1,'fb87071a-e202-4d25-a365-2717ebe9dbae',0,1795973585.7550039291,1795973593.0019974708,'complete',NULL,0.33333333333333331482,3,3,3203,'shared graph','{"prepare": 0.4793858980000323, "first_call": 5.483487143000048, "train": 0.5335314599999492, "evaluate": 0.02014494700006253}','/home/ada/flowers/.tuner/checkpoints/old/trial-0/attempt-1.keras',NULL);
INSERT INTO tuner_attempts VALUES(2,1,1,'fb87071a-e202-4d25-a365-2717ebe9dbae',0,1795973593.0149927139,1795973594.7829976081,'complete',NULL,0.28571428571428569842,3,3,1027,'shared graph','{"prepare": 0.029464234000101897, "first_call": 0.0, "train": 1.3094840059999342, "evaluate": 0.06549670900005822}',NULL,NULL);
INSERT INTO tuner_attempts VALUES(3,1,1,'fb87071a-e202-4d25-a365-2717ebe9dbae',0,1795973594.8680102824,1795973597.4000022411,'complete',NULL,0.66666666666666662965,3,3,5007,'shared graph','{"prepare": 0.08046943400006512, "first_call": 0.0, "train": 1.1616283079998766, "evaluate": 0.04410591699991073}','/home/ada/flowers/.tuner/checkpoints/old/trial-2/attempt-1.keras',NULL);
INSERT INTO tuner_attempts VALUES(4,1,1,'fb87071a-e202-4d25-a365-2717ebe9dbae',0,1795973597.459989786,1795973598.5079824924,'pruned',NULL,0.33333333333333331482,NULL,1,NULL,'shared graph','{"prepare": 0.1701109059999908, "first_call": 0.0, "train": 0.11676668199993401, "evaluate": 0.01239221000002999}',NULL,NULL);
CREATE TABLE tuner_intervals (
	trial_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	whole BOOLEAN NOT NULL, 
	metrics JSON NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (trial_id, attempt, step)
);
INSERT INTO tuner_intervals VALUES(1,1,1,1,1,'{"loss": 1.1513785959404206, "accuracy": 0.1588785046728972, "val_loss": 1.121356419154576, "val_accuracy": 0.09523809523809523}',1795973592.2679841518);
INSERT INTO tuner_intervals VALUES(1,1,2,2,1,'{"loss": 1.1210097553574037, "accuracy": 0.17757009345794392, "val_loss": 1.1131863366989863, "val_accuracy": 0.2857142857142857}',1795973592.4429984093);
INSERT INTO tuner_intervals VALUES(1,1,3,3,1,'{"loss": 1.1123178785092362, "accuracy": 0.3644859813084112, "val_loss": 1.1119622730073475, "val_accuracy": 0.3333333333333333}',1795973592.5350115299);
INSERT INTO tuner_intervals VALUES(2,1,1,1,1,'{"loss": 2.063550432151723, "accuracy": 0.29906542056074764, "val_loss": 1.7880399794805617, "val_accuracy": 0.23809523809523808}',1795973593.7230155468);
INSERT INTO tuner_intervals VALUES(2,1,2,2,1,'{"loss": 1.6787197077385734, "accuracy": 0.3364485981308411, "val_loss": 1.4528029305594308, "val_accuracy": 0.23809523809523808}',1795973593.8289895056);
INSERT INTO tuner_intervals VALUES(2,1,3,3,1,'{"loss": 1.3196848931713638, "accuracy": 0.3644859813084112, "val_loss": 1.15674927121117, "val_accuracy": 0.2857142857142857}',1795973594.6120069027);
INSERT INTO tuner_intervals VALUES(3,1,1,1,1,'{"loss": 1.4902082068897853, "accuracy": 0.29906542056074764, "val_loss": 1.6443683079310827, "val_accuracy": 0.38095238095238093}',1795973595.3629984855);
INSERT INTO tuner_intervals VALUES(3,1,2,2,1,'{"loss": 1.07891845703125, "accuracy": 0.4766355140186916, "val_loss": 0.9170658474876767, "val_accuracy": 0.5714285714285714}',1795973595.5990061759);
INSERT INTO tuner_intervals VALUES(3,1,3,3,1,'{"loss": 0.7603852459203417, "accuracy": 0.7383177570093458, "val_loss": 0.6539859771728516, "val_accuracy": 0.6666666666666666}',1795973596.5720043182);
INSERT INTO tuner_intervals VALUES(4,1,1,1,1,'{"loss": 3.132143608877592, "accuracy": 0.2897196261682243, "val_loss": 2.9593258812313987, "val_accuracy": 0.3333333333333333}',1795973598.411986351);
CREATE TABLE tuner_deliveries (
	study_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	step INTEGER DEFAULT '0' NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	PRIMARY KEY (study_id, trial_id)
);
INSERT INTO tuner_deliveries VALUES(1,0,'372ff83ad3aa4a3a81a0271953c4d29d',0,3,'FINISHED');
INSERT INTO tuner_deliveries VALUES(1,1,'4c40b509090a4b03b501b20d04810e42',1,3,'COMPLETE');
INSERT INTO tuner_deliveries VALUES(1,2,'011309d91a4b42949e127fbbeccbe81a',1,3,'COMPLETE');
INSERT INTO tuner_deliveries VALUES(1,3,'4bca5b4502594577a5138249d80199fe',1,3,'COMPLETE');
INSERT INTO tuner_deliveries VALUES(1,4,'98b7b184316a41918b4660a9c5c59cb6',1,1,'PRUNED');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX tuner_places_state ON tuner_places (study_id, state);
CREATE INDEX ix_tuner_loops_study_id ON tuner_loops (study_id);
CREATE INDEX ix_tuner_attempts_study_id ON tuner_attempts (study_id);
COMMIT;
